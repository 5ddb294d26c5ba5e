// What the components of studies share: the head with one square a run, charts, colours and marks of several series.

import { element, link, once, say, write } from "../web/dom.js";
import { roughly, whole } from "../web/numbers.js";
import { layoutOf, margins, marks, Plots, rule } from "../web/plot.js";
import { themeOf } from "../web/theme.js";

const GLYPHS = { done: "✓", failed: "!", measuring: "…", paused: "❚❚" };
const WORDS = { waiting: "waiting", queued: "waiting for the device", interrupted: "interrupted" };
const PLAYED_MS = 12_000, FRAME_MS = 120; // how long a recorded study takes to play
export const OVER = ["done", "failed"]; // states of a run that has ended
const GOING_ON = ["running", "measuring", "queued", "paused"];
const HEAD = `
  <div class="exp-head">
    <div class="exp-what"><div class="exp-title"></div><div class="exp-reading"></div></div>
    <div class="exp-how"><div class="exp-cells" role="group" aria-label="Runs"></div>
      <div class="exp-where"><button class="exp-replay" title="Play what is recorded once more" hidden>▶ Replay</button>
        <span class="exp-state"></span> <span class="exp-count"></span>
        <div class="exp-bar" role="progressbar" aria-label="Study so far"
          aria-valuemin="0" aria-valuemax="100"><div></div></div></div></div>
  </div>
  <div class="exp-message" role="status" hidden></div>
  <div role="alert"><ul class="exp-problems" hidden></ul></div>`;

export const CHART = `<div class="exp-plot" role="figure"></div>`;

export class Experiment {
  constructor(host, name, skeleton) {
    this.root = element("div", { className: "dfkd-view dfkd-experiment dfkd-" + name, innerHTML: HEAD + skeleton });
    host.append(this.root);
    this.at = (selector) => this.root.querySelector(selector);
    this.plots = new Plots(() => this.show(), (message) => say(this.at(".exp-message"), message));
    this.at(".exp-replay").addEventListener("click", () => this.play());
  }

  update(data) {
    const other = this.data?.study !== data.study;
    this.whole = data;
    this.data = data;
    if (other) this.begin();
    if (other && data.plays) this.play();
    else if (!this.playing) this.show();
    this.plots.load(data.base);
  }

  // A recorded study plays when it is opened: its runs come in as they did when it was made.
  play() {
    clearTimeout(this.playing);
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const begun = performance.now() - (still ? PLAYED_MS : 0);
    const { study } = this.whole;
    const frame = () => {
      const share = (performance.now() - begun) / PLAYED_MS, over = share >= 1;
      this.playing = null;
      if (!this.root.isConnected || this.whole.study !== study) return;
      this.data = over ? this.whole : { ...this.asOf(this.whole, share), reading: "" };
      this.show();
      if (!over) this.playing = setTimeout(frame, FRAME_MS);
    };
    frame();
  }

  // What was there after a share of the study; that of some components is all.
  asOf(data) { return data; }

  show() {
    const { study, state, done, failed, total } = this.data;
    this.theme = themeOf(this.root);
    this.head();
    this.draw();
    Object.assign(this.root.dataset, { study, state, done, failed, total });
  }

  // Draws charts unless nothing has changed of `on`, what they depend on.
  once(on, act) {
    const key = JSON.stringify([this.data.study, this.theme.key, !this.plots.plotly, ...on]);
    if (key === this.drawn) return;
    this.drawn = key;
    act();
  }

  head() {
    const d = this.data;
    this.at(".exp-state").dataset.state = d.state;
    const count = [`${d.done} / ${d.total} runs`];
    if (d.failed) count.push(d.failed + " failed");
    if (d.left != null) count.push(`about ${roughly(d.left)} left`);
    const texts = { ".exp-title": d.title, ".exp-reading": d.reading || "", ".exp-state": d.badge };
    write(this.at, { ...texts, ".exp-count": count.join(" · ") });
    this.at(".exp-bar div").style.width = 100 * d.share + "%";
    this.at(".exp-bar").setAttribute("aria-valuenow", Math.round(100 * d.share));
    this.at(".exp-bar").hidden = d.state === "done";
    this.at(".exp-replay").hidden = !d.plays;
    say(this.at(".exp-message"), d.message);
    once(this.at(".exp-cells"), d.cells, (box) => this.squares(box));
    once(this.at(".exp-problems"), d.cells.filter((cell) => cell.state === "failed"), (box) => this.problems(box));
  }

  // Rows of squares: runs of the same seed.
  rows(seeds = this.data.settings.seeds) {
    return seeds.map((seed) => this.data.cells.filter((cell) => cell.seed === seed));
  }

  squares(box) {
    const rows = this.rows();
    const places = [...Array(Math.max(...rows.map((row) => row.length))).keys()];
    const filled = (row) => places.map((place) => (row[place] ? this.square(row[place]) : element("span")));
    box.style.gridTemplateColumns = `repeat(${places.length}, auto)`;
    box.replaceChildren(...rows.flatMap(filled));
  }

  square(cell) {
    const { state, share, message, run } = cell;
    const words = `${this.nameOf(cell)}: ${WORDS[state] || state}${message ? ". " + message : ""}`;
    const made = run ? link(GLYPHS[state] || "", this.distill(run)) : element("span", GLYPHS[state]);
    made.dataset.state = state;
    made.style.setProperty("--share", share);
    made.setAttribute("aria-label", words);
    return Object.assign(made, { className: "exp-cell", title: words });
  }

  // Each reason once, with the runs that failed by it.
  problems(box) {
    const failed = this.data.cells.filter((cell) => cell.state === "failed");
    const by = Object.groupBy(failed, ({ message }) => message);
    box.hidden = !failed.length;
    const lines = Object.entries(by).map(([message, cells]) => {
      const names = cells.map((cell) => this.nameOf(cell)), [first] = names;
      const who = names.length > 1 ? `${first}, and ${names.length - 1} more` : first;
      return element("li", { title: names.join("\n") }, element("b", `${who} failed. `), message);
    });
    box.replaceChildren(...lines);
  }

  // The page of a run, and links to all of its pages.
  distill(run, page = "") { return `${this.data.base}/${page}?run=${encodeURIComponent(run)}`; }
  links(run) { return [link("Distill", this.distill(run)), " · ", link("Inspect", this.distill(run, "inspect"))]; }

  // The table: its columns, [words, help], its lines, and what is to be said of it.
  fill(columns, lines, about) {
    const head = columns.map(([words, title]) => element("th", { scope: "col", title }, words));
    this.at("thead").replaceChildren(element("tr", head));
    this.at("tbody").replaceChildren(...lines);
    this.at(".exp-figures p").textContent = about;
  }

  // A line of it: its name, and the fields' contents; a field that is an element is taken as it is.
  line(about, name, fields) {
    const field = (content) => (content.tagName === "TD" ? content : element("td", content));
    return element("tr", about, element("th", { scope: "row" }, name), fields.map(field));
  }

  // How far the one of some runs is that goes on.
  running(cells) {
    const live = cells.find((cell) => GOING_ON.includes(cell.state));
    const title = live && `${this.nameOf(live)}: ${whole(live.share)}`;
    return live && element("i", { title, style: { "--share": live.share } });
  }

  plot(node, traces, layout, description) {
    const usual = { hovermode: "closest", hoverdistance: 60, uirevision: this.data.study, ...margins(44, 8, 8, 36) };
    const full = layoutOf(this.theme, { ...usual, axis: { fixedrange: true }, ...layout });
    return this.plots.draw(node, traces, full, description);
  }

  // The teacher's level, from one end of an axis to the other.
  teacherTrace(x, y) { return rule(x, y, this.theme.teacher, "dash"); }

  // Single runs that have a `value`, each `at` a place for it; `words` say the value.
  singles(cells, value, at, marker, words) {
    const shown = cells.filter((cell) => value(cell) != null);
    const text = shown.map((cell) => `${this.nameOf(cell)}<br>${words(value(cell))}`);
    return marks(shown.map((cell) => at(cell, value(cell))), marker, text);
  }
}
