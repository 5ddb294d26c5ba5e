// The microscope: histogram, projection and grid of one recorded step, with one cut and one selection for all three.
// Python sends items by key when they are asked for; cut, selection, zoom and scrubbing happen here, without a rerun.

import { eachOf, element, onClick, press, say, termAddress, write } from "../web/dom.js";
import { frame, hostOf, legible } from "../web/mount.js";
import { brief, clamp, whole } from "../web/numbers.js";
import { Plots } from "../web/plot.js";
import { Scrubber } from "../web/scrubber.js";
import { placesOf } from "../web/sheet.js";
import { themeOf } from "../web/theme.js";
import { Audit } from "./audit.js";
import { ClassBars } from "./classes.js";
import { Drawer } from "./drawer.js";
import { Grid } from "./grid.js";
import { Histogram } from "./histogram.js";
import { Items } from "./items.js";
import { Projection } from "./projection.js";
import { judge, Selection } from "./samples.js";
import { SKELETON } from "./skeleton.js";
import { Tags } from "./tags.js";

const AHEAD = 8; // steps asked for before they are looked at
const HEAVY_BYTES = 2e6; // a frame above this is not asked for before
// In the order in which they are drawn.
const VIEWS = {
  histogram: [Histogram, "judged"], bars: [ClassBars, "classes"], grid: [Grid, "images"],
  projection: [Projection, "map"], tags: [Tags, "tags"], drawer: [Drawer, "drawer"], audit: [Audit, "audit"],
};
const FLAGGED =
  "Rejected although the teacher is surer of them than of any clean sample: the accepted region has two boundaries. " +
  "Click to select them.";

class Microscope {
  constructor(host) {
    this.root = element("div.dfkd-view.dfkd-microscope", { innerHTML: SKELETON, microscope: this });
    host.append(this.root);
    this.at = (name) => this.root.querySelector(".scope-" + name);
    this.questions = new Items(this);
    this.selections = this.verdicts = 0;
    this.selection = new Selection(() => this.selected());
    this.scrubber = new Scrubber(this.root, this, true);
    this.plots = new Plots(() => this.refresh(), (message) => this.say("failed", message));
    this.views = Object.entries(VIEWS).map(([name, [View, box]]) => (this[name] = new View(this.at(box), this)));
    this.listen();
  }

  // --- hands ---

  listen() {
    const click = (name, act) => this.at(name).addEventListener("click", act);
    click("clear", () => this.selection.clear());
    click("flags", () => this.selection.take(placesOf(this.verdict.flagged, 1)));
    click("distill", () => this.order("distill", { step: this.view }));
    onClick(this.root, "form", (form) => this.export(form));
    onClick(this.root, "source", (source) => this.turnTo(source));
    this.root.addEventListener("keydown", (event) => this.escape(event));
    new ResizeObserver(() => this.refresh()).observe(this.root);
    new IntersectionObserver((seen) => {
      this.audit.visible = seen.at(-1).isIntersecting;
      if (this.audit.visible && this.data) this.plots.load(this.data.base);
    }).observe(this.at("audit"));
  }

  // It is nowhere on the page any more.
  leave() { this.scrubber.stop(); if (window.dfkdMicroscope === this) window.dfkdMicroscope = null; }

  escape(event) {
    if (event.key !== "Escape" || (this.opened == null && !this.selection.size)) return;
    event.preventDefault(); // what else Escape closes stays open
    if (this.opened != null) this.close();
    else this.selection.clear();
  }

  // --- news from Python ---

  update(data, setStateValue) {
    if (this.run !== data.run || this.stop !== data.stop) this.begin(data); // another stop of a lesson looks elsewhere
    this.data = data;
    this.questions.take(data, setStateValue);
    if (!this.steps.length && data.steps[this.other].length) this.source = this.other;
    if (this.audit.visible) this.plots.load(data.base);
    this.refresh();
  }

  begin(data) {
    const { view } = data;
    Object.assign(this, { run: data.run, stop: data.stop });
    this.scrubber.begin(view.step);
    this.questions.begin();
    this.tags.sheets.clear();
    this.audit.rows = null;
    this.frame = this.verdict = this.opened = this.hovered = null;
    this.selection.reset(0);
    this.projection.scatter.home();
    eachOf(this.root, "term", (link, term) => { link.href = termAddress(data.base, term); });
    const { tau, source = "samples", sort = "loss", colour = "verdict", layout = "pca", mark = "verdict" } = view;
    Object.assign(this, { threshold: tau, source, sort, colour, kind: layout, mark, show: "all" });
  }

  // --- asking Python ---

  need(key) { return this.questions.need(key); }
  order(name, about) { this.questions.order(name, about); }

  // For the address bar.
  told() {
    const { source, sort, colour, kind, mark } = this;
    const step = this.scrubber.playing ? null : this.view;
    return { of: this.run, view: { source, sort, colour, layout: kind, mark, step, tau: this.threshold } };
  }

  // What the scrubber is likely to want next, when nothing else is on its way: the nearest steps, as memory allows.
  ahead() {
    clearTimeout(this.looking);
    this.looking = setTimeout(() => {
      const { questions, steps, frame } = this;
      if (questions.wanted.size || !steps.length || !frame || frame.bytes > HEAVY_BYTES) return;
      const here = steps.indexOf(this.step), room = questions.roomFor(frame.bytes);
      const far = (step) => Math.abs(steps.indexOf(step) - here);
      const lacking = (step) => far(step) <= room && !questions.has(`frame ${this.source} ${step}`);
      const nearest = steps.filter(lacking).sort((a, b) => far(a) - far(b));
      nearest.slice(0, clamp(Math.floor(HEAVY_BYTES / frame.bytes), 1, AHEAD)).forEach((step) => this.askFor(step));
    }, 300);
  }

  // The frame of a step; also asks for what is drawn of it.
  askFor(step) {
    const frame = this.need(`frame ${this.source} ${step}`);
    this.need(`places ${this.shownKind} ${this.source} ${step}`);
    this.need(`inside ${this.source} ${step}`);
    return frame?.broken ? null : frame;
  }

  // --- moving through the run ---

  get other() { return this.source === "samples" ? "probes" : "samples"; }
  get steps() { return this.data ? this.data.steps[this.source] : []; }
  // The step asked for, or the recorded one nearest to it: the two sources are recorded at different steps.
  get step() { return this.scrubber.step; }
  get view() { return this.scrubber.view; }
  has(step) { const frame = this.askFor(step); return frame === null || Boolean(frame?.ready); }
  moved(told) { if (told) this.questions.tell(); this.refresh(); }
  goTo(step) { this.scrubber.goTo(step); }

  turnTo(source) {
    if (source === this.source || !this.data.steps[source].length) return;
    this.scrubber.stop(true);
    this.look({ source });
  }

  // Looks in another way; the address bar follows.
  look(change) { Object.assign(this, change); this.moved(true); }

  // --- cut, selection, one sample ---

  cut(threshold) {
    const own = this.frame?.mixture?.threshold;
    this.threshold = threshold != null && own != null && Math.abs(threshold - own) < 1e-9 ? null : threshold;
    this.verdict = null;
    this.questions.tell(400);
    this.refresh();
  }

  selected() { this.selections += 1; this.grid.seek(); this.refresh(); }

  // The selected samples, or all, as a file.
  export(form) {
    const { frame, selection } = this;
    const chosen = selection.size ? selection.indices().join(",") : "all";
    this.need(["export", form, this.shownKind, frame.source, frame.step, chosen].join(" "));
  }

  hover(index) {
    if (this.hovered === index) return;
    this.hovered = index;
    this.refresh("hover");
  }

  open(index, from) {
    this.opened = index;
    this.openedFrom = from || this.openedFrom || "right";
    this.refresh();
  }

  jump(index) { this.selection.take([index]); this.open(index); }
  close() { this.opened = null; this.refresh(); }

  // --- what the views ask ---

  get real() { return this.questions.get("real"); }
  get shownKind() { return this.data.layouts[this.kind]?.there ? this.kind : "pca"; }
  get layout() { return this.need("layout " + this.shownKind); }
  places(frame) { return this.need(`places ${this.shownKind} ${frame.source} ${frame.step}`)?.xy; }
  inside(frame) { return this.need(`inside ${frame.source} ${frame.step}`); }
  className(label) { return this.data.classes[label] ?? String(label); }

  words(index) {
    const { frame, verdict } = this;
    const name = frame.source === "probes" ? "latent " : "sample ";
    const judged = verdict.clean[index] ? "clean" : verdict.flagged[index] ? "rejected ⚑" : "rejected";
    const posterior = frame.posterior ? `, posterior ${frame.posterior[index].toFixed(2)}` : "";
    const says = `the teacher says ${this.className(frame.label[index])} with ${whole(frame.confidence[index])}`;
    return `${name}${index}: ${judged}, ${says}, loss ${brief(frame.loss[index])}${posterior}`;
  }

  realWords(index) { return `real image ${index}: class ${this.className(this.real.label[index])}`; }

  // Why no images are shown, and what to do about it.
  nothing() {
    const frame = this.questions.get(`frame ${this.source} ${this.step}`);
    if (frame === null || frame?.broken) return "The images of this step cannot be read.";
    if (this.steps.length) return "Loading the images of this step…";
    if (this.data.poll && this.data.state !== "done") return "The first images appear after the first step.";
    return "This run recorded no images. Choose another one on the left, or start one in Distill.";
  }

  announce(words) { this.at("spoken").textContent = words; }
  say(state, message) { say(this.at("message"), message, state); }

  // --- drawing ---

  refresh(part = "all") {
    this.dirty = this.dirty === "all" ? "all" : part;
    if (this.painting) return;
    this.painting = requestAnimationFrame(() => {
      const what = this.dirty;
      this.painting = this.dirty = null;
      if (this.data) this.paint(what);
    });
  }

  paint(part) {
    if (part === "hover") {
      this.grid.draw();
      return this.projection.scatter.overlay();
    }
    this.theme = themeOf(this.root);
    this.take();
    this.head();
    this.status();
    for (const view of this.views) view.draw();
    this.mirror();
    this.ahead();
  }

  // The frame of the step, as soon as its images are decoded; until then the one before stays.
  take() {
    const step = this.step;
    const frame = step == null ? null : this.askFor(step);
    if (frame?.ready && frame !== this.frame) this.lookAt(frame);
    else if (frame === null) this.frame = this.verdict = null;
    if (!this.frame) return;
    this.tags.refresh(this.frame);
    if (this.verdict) return;
    this.verdict = judge(this.frame, this.threshold);
    this.verdicts += 1;
  }

  // Fixed latents stay selected, and one of them open, from step to step.
  lookAt(frame) {
    const known = this.frame;
    const same = known?.source === "probes" && frame.source === "probes" && known.count === frame.count;
    this.frame = frame;
    this.verdict = this.hovered = null;
    if (same) return;
    this.opened = null;
    this.selection.reset(frame.count);
    this.selections += 1;
  }

  head() {
    const { data, steps, step } = this, { live, total } = data;
    const where = step == null ? "nothing recorded yet" : `step ${step} / ${total} · ${steps.length} recorded`;
    this.scrubber.draw({ live, total, done: 0, where });
    write(this.at, { title: data.title, state: data.badge });
    this.at("state").dataset.state = data.state;
    eachOf(this.root, "source", (button, source) => {
      button.disabled = !data.steps[source].length;
      press(button, source === this.source);
    });
    const problem = data.problem || data.tags.problem;
    this.say(problem ? "failed" : data.state, problem || data.message);
  }

  status() {
    const { frame, verdict, selection } = this, flags = this.at("flags");
    this.at("verdict").replaceChildren(...this.sentence());
    flags.hidden = !verdict?.flags;
    if (verdict?.flags) Object.assign(flags, { textContent: "⚑ " + verdict.flags, title: FLAGGED });
    this.at("chosen").textContent = frame ? `${selection.size} / ${frame.count} selected` : "";
    this.at("clear").disabled = !selection.size;
    this.at("tags").hidden = this.at("export").hidden = !frame;
    const exported = selection.size ? `${selection.size} selected` : `all ${frame?.count}`;
    this.at("export").querySelector("span").textContent = `Export ${exported}`;
  }

  sentence() {
    const { frame, verdict } = this;
    if (!frame) return [];
    const kept = (...words) => [frame.unapplied ? "clean " : "kept ", element("b", ...words, ` of ${frame.count}`)];
    if (!frame.mixture) return ["This method rejects nothing: all ", element("b", frame.count), " are learned from."];
    const own = placesOf(frame.clean, 1).length, cut = frame.mixture.threshold.toFixed(2);
    const not = frame.unapplied ? " The verdict was not applied: all that was made was learned from." : "";
    const tried = ` at τ ${verdict.threshold.toFixed(2)}; the run used ${cut}.`;
    if (verdict.hypothetical) return [...kept(own, " → ", verdict.kept), tried, not];
    return [...kept(own), ` at τ ${cut}.${not}`];
  }

  // For tests and measurements: what is shown, in words.
  mirror() {
    const { frame, verdict, selection, data } = this;
    Object.assign(this.root.dataset, {
      run: this.run, state: data.state, source: this.source, step: frame?.step ?? "", count: frame?.count ?? 0,
      kept: verdict?.kept ?? 0, tau: verdict?.threshold ?? "", selected: selection.size, kind: this.shownKind,
      projected: String(Boolean(this.projection.scatter.points)), opened: this.opened ?? "", version: data.version,
      paints: Number(this.root.dataset.paints || 0) + 1,
    });
  }
}

// A rerun can take the component off the page for a moment; it comes back as it was.
export default async function mount({ data: [data], parentElement, setStateValue }) {
  const host = await hostOf(parentElement);
  const scope = (window.dfkdMicroscope ??= new Microscope(host));
  if (!host.contains(scope.root)) host.append(scope.root);
  scope.update(legible(data), setStateValue);
  frame(host, data.framed);
}
