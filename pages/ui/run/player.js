// What the stages of a run share: head, scrubber with its marks, recorded sheets, curves over training steps.
// Fed by Python with rows since the last look; scrubbing, playing and zooming happen here, without a rerun of the page.
// A stage brings panels and draws them in `panels`.

import { NO_CURVE, upTo } from "../web/curves.js";
import { element, empty, legend, once, press, say, termLink } from "../web/dom.js";
import { duration, percent, whole } from "../web/numbers.js";
import { layoutOf, line, margins, NOTHING, PERCENT, Plots, SHARES, titled, upright, words } from "../web/plot.js";
import { Questions } from "../web/questions.js";
import { Scrubber, track } from "../web/scrubber.js";
import { Sheet } from "../web/sheet.js";
import { themeOf } from "../web/theme.js";
import { title } from "../web/words.js";
import { Feed } from "./feed.js";
import { SlowMotion } from "./slow.js";

const SLOWLY = `
  <button class="dfkd-slowly" title="One step, phase by phase, with its tensors">Slow motion</button>`;
const HEAD = `
  <ol class="dfkd-idea" hidden></ol>
  <div class="dfkd-head"><div class="dfkd-score"></div><div class="dfkd-what"></div></div>
  <div class="dfkd-message" role="status" hidden></div>
  ${track("Training", SLOWLY)}
  <section class="dfkd-slow" hidden aria-label="Slow motion"></section>
  <div class="dfkd-alarms" role="alert"></div>`;
export const FIRST_IMAGES = "The first images appear after the first step.";
const LEFT = ["stopped", "failed", "interrupted"];

// A panel with a heading, which leads to the glossary, and a chart or what is given.
export const panel = (name, heading, content = `<div class="dfkd-plot" role="figure"></div>`) =>
  `<section class="dfkd-panel dfkd-${name}"><h4>${heading}<span></span></h4>${content}</section>`;

export class Player {
  constructor(host, name, panels) {
    this.root = element("div", { className: `dfkd-view dfkd-stage ${name}`, innerHTML: HEAD + panels });
    host.append(this.root);
    this.at = (name) => this.root.querySelector(".dfkd-" + name);
    this.frames = new Map();
    this.sheets = [];
    this.feed = new Feed();
    this.plots = new Plots(() => this.draw(), (message) => say(this.at("message"), message, "failed"));
    this.scrubber = new Scrubber(this.root, this);
    this.questions = new Questions(this.root, () => this.told(), () => this.scrubber.stop());
    this.slow = new SlowMotion(this, this.at("slow"));
    this.at("slowly").addEventListener("click", () => (this.slow.on ? this.slow.leave() : this.slow.enter()));
  }

  // --- news from Python ---

  // Its curves and sheets are fetched first; of several pieces of news the last counts.
  async update(data, setStateValue) {
    this.latest = data;
    if (!this.data) this.at("slow").hidden = !data.slow; // it takes its room at once
    if (this.feed.of !== data.run) this.feed = Object.assign(new Feed(), { of: data.run });
    const { feed } = this, news = (this.news = Symbol("news"));
    const filled = await feed.filled(data);
    if (this.news !== news) return;
    this.take(filled, setStateValue);
    this.look(setStateValue);
  }

  // What is new of a live run, without a rerun; Python is asked when its buttons have to change.
  look(setStateValue) {
    clearTimeout(this.looking);
    const data = this.latest, { every } = data.feed;
    if (!every) return;
    this.looking = setTimeout(async () => {
      if (!this.root.isConnected) return;
      const news = document.hidden ? null : await this.feed.news(this.data);
      if (data !== this.latest) return;
      if (!news) return this.look(setStateValue);
      if (news.state !== data.state) this.questions.tell(0);
      this.update({ ...data, ...news, frames: { ...data.frames, ...news.newest } }, setStateValue);
    }, 1000 * every);
  }

  take(data, setStateValue) {
    if (this.run !== data.run) this.begin(data);
    const got = Object.entries(data.frames).map(([step, frame]) => this.receive(Number(step), frame));
    this.data = data;
    this.questions.answered(data, got, setStateValue);
    this.slow.update();
    const play = this.autoplay && !this.slow.on && data.steps.length > 1;
    if (play || this.slow.on) this.autoplay = false;
    if (play) this.scrubber.play(0);
    this.arrived();
    this.draw();
    this.plots.load(data.base);
  }

  // Another run.
  begin(data) {
    this.scrubber.begin(data.view);
    this.questions.begin();
    this.slow.begin();
    this.run = data.run;
    this.frames.clear();
    this.sheets.splice(0).forEach((sheet) => sheet.close());
    this.fetching = new Set();
    this.drawn = {};
    this.shown = null;
    this.autoplay = data.autoplay && data.view == null;
    this.root.querySelectorAll("h4").forEach(({ firstChild }) => {
      if (firstChild.nodeType === Node.TEXT_NODE) firstChild.replaceWith(termLink(data.base, firstChild.textContent));
    });
  }

  // A frame that Python sent; null where there is none that can be read.
  receive(step, frame) {
    if (!this.frames.get(step)) this.frames.set(step, frame && this.opened(frame));
    return step;
  }

  // A sheet that is drawn when its images are decoded.
  opened(item) {
    const sheet = new Sheet(item);
    this.sheets.push(sheet);
    sheet.decoded.then(() => this.draw());
    return sheet;
  }

  // What a stage does when there is news, and what else Python is to know.
  arrived() {}
  alsoTold() {}

  told() {
    const slow = this.slow.on && this.slow.step != null ? [this.slow.step, this.slow.phase] : null;
    return { of: this.run, view: this.playing ? null : this.view, slow, ...this.alsoTold() };
  }

  // --- where in the run ---

  get steps() { return this.data?.steps ?? []; }
  get step() { return this.scrubber.step; }
  get view() { return this.scrubber.view; }
  get playing() { return this.scrubber.playing; }
  get live() { return this.data.state === "running" || this.data.state === "paused"; }
  has(step) { if (!this.frames.has(step)) this.lack(step); return this.frames.has(step); }
  moved(told) { if (told) this.questions.tell(); this.draw(); }

  // A frame is fetched where its file is known, else asked for.
  async lack(step) {
    const { run, feed, data: { names, feed: { at } } } = this;
    if (!(step in names)) return this.questions.want(step);
    if (this.fetching.has(step)) return;
    this.fetching.add(step);
    const [, frame] = await feed.frame(at, step, names[step]);
    if (this.run !== run) return;
    this.fetching.delete(step);
    if (frame === undefined) return this.questions.want(step);
    this.receive(step, frame);
    this.draw();
  }

  // Where the run enters its later stages.
  get laterStages() { return this.data.stages.filter((stage) => stage.step > 1); }
  stageAt(step) { return this.data.stages.findLast((stage) => stage.step <= step); }

  // Where the axis of steps ends: with the run, or where it was left.
  get span() { return Math.max(1, LEFT.includes(this.data.state) ? this.data.step : this.data.total); }

  // --- drawing ---

  draw() {
    if (!this.data) return;
    const { data } = this;
    this.colour = themeOf(this.root);
    if (this.step != null) this.has(this.step);
    this.head();
    this.track();
    this.slow.draw();
    this.alarms();
    this.panels();
    const { state, elapsed, version } = data;
    Object.assign(this.root.dataset, { run: this.run, step: this.step ?? "", elapsed, state, version });
  }

  // Draws `name` unless nothing of what it depends on has changed.
  once(name, on, act) {
    const key = JSON.stringify([this.run, this.colour.key, !this.plots.plotly, ...on]);
    if (this.drawn[name] === key) return;
    this.drawn[name] = key;
    act();
  }

  // What curves depend on.
  seen(...names) {
    const { marks, stages, curves } = this.data;
    const ends = names.map((name) => curves[name]?.x.at(-1));
    return [this.playing, this.view, this.span, marks.length, stages.length, ...ends];
  }

  // A metric at the step shown.
  valueAt(name) {
    const { x, y } = this.data.curves[name] ?? NO_CURVE;
    return y[x.findLastIndex((one) => one <= (this.view ?? Infinity))] ?? null;
  }

  // How the score reads, and what it is.
  scored(value) { return percent(value); }
  get measure() { return this.data.score === "accuracy" ? "student's accuracy" : "agreement with the teacher"; }

  head() {
    const { data } = this, value = this.valueAt(data.score);
    const at = this.view == null ? "" : " at step " + this.step;
    const about = element("small", value == null ? "nothing measured yet" : this.measure + at);
    if (data.teacher != null) about.append(", ", element("b", "teacher " + this.scored(data.teacher)));
    this.at("score").replaceChildren(value == null ? "–" : this.scored(value), about);
    const pill = element("span.dfkd-state", { dataset: { state: data.state } }, data.badge);
    const held = data.memory == null ? "" : ` · ${data.memory.toFixed(1)} GiB of the GPU`;
    this.at("what").replaceChildren(pill, element("div", data.title + held));
    say(this.at("message"), data.message, data.state);
  }

  track() {
    const { data, view, live } = this, { total, left } = data;
    const time = data.state === "running" && left != null ? duration(left) + " left" : duration(data.elapsed);
    const at = view == null ? `step ${data.step} / ${total} · ${time}` : `step ${this.step} / ${total}`;
    this.scrubber.draw({ live, total, done: data.step, where: total > 1 ? at : "not started" });
    once(this.at("entries"), [this.laterStages, total], (box) => {
      const place = (step) => ({ left: (100 * (step - 1)) / Math.max(1, total) + "%" });
      const marks = this.laterStages.map(({ step, title, name }) =>
        element("span", { title: `${title}, from step ${step}`, style: place(step) }, name),
      );
      box.replaceChildren(...marks);
    });
    press(this.at("slowly"), this.slow.on);
    this.at("slowly").disabled = !data.phases.length || !(data.slow_steps.length || live);
  }

  alarms() {
    once(this.at("alarms"), this.data.alarms, (box) => {
      const alarm = ({ kind, text, knobs }) => {
        const codes = knobs.map((knob) => element("code", this.term(knob)));
        const about = codes.length ? text + " Knobs that bear on it:" : text;
        return element("div.dfkd-alarm", { dataset: { kind } }, about, codes);
      };
      box.replaceChildren(...this.data.alarms.map(alarm));
    });
  }

  // A class by its name; what the teacher takes an image of a sheet for.
  named(label) { return this.data.classes[label] ?? String(label); }
  says(sheet, index) {
    return `the teacher says ${this.named(sheet.label[index])} with ${whole(sheet.confidence[index])}`;
  }

  // Headings and legends lead to the glossary, which knows them by the names that stand here.
  term(name) { return termLink(this.data.base, name); }

  // Legends stand in the headings: plotly's own would take a third of a small panel. What is no term is an element.
  legend(name, entries, note = "") {
    const named = (words) => (words instanceof Node ? words : this.term(words));
    legend(this.at(name).querySelector("h4 span"), entries, note, named);
  }

  // Says in a panel without a chart why there is nothing to see.
  nothing(name, words) {
    this.legend(name, []);
    this.at(name).querySelector("div").replaceChildren(empty(words));
  }

  // --- charts ---

  plot(name, traces, layout, description) {
    const usual = { ...margins(46, 8, 6, 40), uirevision: this.run, axis: { automargin: false } };
    const node = this.at(name).querySelector(".dfkd-plot");
    this.plots.later(node, traces, layoutOf(this.colour, { ...usual, ...layout }), description);
  }

  noPlot(name, description) { this.legend(name, []); this.plot(name, [], NOTHING, description); }

  // A chart over training steps.
  course(name, traces, yaxis, description, more = {}) {
    const layout = { shapes: this.marks(), xaxis: this.axis(), yaxis, ...more };
    this.plot(name, traces, layout, description + " over training steps");
  }

  axis() { return { ...titled("training step"), range: [0, this.span] }; }

  marks() {
    const { colour, view } = this;
    const changed = { color: colour.teacher, width: 1.5, dash: "dash" };
    const other = { color: colour.line, width: 1, dash: "dot" };
    const stage = { color: colour.muted, width: 1.5, dash: "dashdot" };
    const shapes = this.data.marks.map(({ step, command }) => upright(step, command === "set" ? changed : other));
    shapes.push(...this.laterStages.map(({ step }) => upright(step - 0.5, stage)));
    if (view != null && !this.playing) shapes.push(upright(view, { color: colour.text, width: 1.5 }));
    return shapes;
  }

  // What was changed while the run went on, written beside its mark; later ones lower, so that none covers another.
  changes() {
    const made = this.data.marks.filter(({ command }) => command === "set");
    return made.map(({ text, step }, index) =>
      words(text.replace(", ", "<br>"), step, 0.02 + 0.09 * (index % 5), {
        xref: "x", yanchor: "bottom", xanchor: step > 0.6 * this.span ? "right" : "left",
        font: { color: this.colour.teacher, size: 12 }, align: "left",
      }),
    );
  }

  // A metric's curve; while the run is played, up to the step shown.
  curve(name) {
    const curve = this.data.curves[name] ?? NO_CURVE;
    return this.playing ? upTo(curve, this.step) : curve;
  }

  // The student stands still until its stage begins, unless it is evaluated there.
  still(curve) {
    const begins = this.data.stages.find((stage) => stage.name === "student")?.step ?? 1;
    const at = curve.x.findIndex((x) => x >= begins);
    if (begins === 1 || at < 1 || curve.x[at - 1] > 0) return curve;
    return { x: curve.x.toSpliced(at, 0, begins - 1), y: curve.y.toSpliced(at, 0, curve.y[at - 1]) };
  }

  // The student's curve and its teacher's level.
  against(curve, teacher, form) {
    const ends = { x: [0, this.data.total], y: [teacher, teacher] };
    const student = { mode: "lines+markers", marker: { size: 5 } };
    return [
      ...(teacher == null ? [] : [line(ends, "teacher", this.colour.teacher, { dash: "dash" }, form)]),
      line(curve, "student", this.colour.student, { width: 3 }, form, student),
    ];
  }

  accuracy() {
    const { data, colour } = this, accurate = data.score === "accuracy";
    const curve = this.still(this.curve(data.score));
    const entries = [["student", colour.student, "thick"]], traces = this.against(curve, data.teacher, PERCENT);
    if (data.teacher != null) entries.push(["teacher", colour.teacher, "dash"]);
    if (accurate) {
      const [name, agreement] = ["agreement with the teacher", this.still(this.curve("agreement"))];
      entries.push(["agreement", colour.student, "dot"]);
      traces.unshift(line(agreement, name, colour.student, { width: 1.2, dash: "dot" }, PERCENT));
    }
    this.legend("accuracy", entries);
    const now = curve.y.length ? percent(curve.y.at(-1)) : "nothing yet";
    this.course("accuracy", traces, SHARES, `Student's accuracy, now ${now},`, { annotations: this.changes() });
  }

  // Lines of [metric, words, colour], as far as the run knows them.
  shares(name, lines, note = "", more = {}) {
    const entries = lines.map(([, label, color]) => [label, color]);
    this.legend(name, entries, note);
    const known = lines.filter(([metric]) => this.data.curves[metric]);
    const traces = known.map(([metric, label, color]) => line(this.curve(metric), label, color));
    this.course(name, traces, SHARES, entries.map(([label]) => label).join(", "), more);
  }

  title(term) { return this.data.titles[term] ?? title(term); }

  // The terms drawn that move `whom`.
  termsOf(whom) { return this.data.terms.filter((name) => this.data.moved[name] === whom); }

  // Shares of a gradient, one above the other.
  stacked(name, color, stackgroup = "one", more = {}) {
    const look = { width: 0.5 }, shares = this.curve("share/" + name);
    return line(shares, this.title(name), color, look, PERCENT, { stackgroup, ...more });
  }
}
