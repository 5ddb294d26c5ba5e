// The stage of a run that goes through two stages, the student's being the second: parts of the page, and what the step
// shown is about comes first.

import { element, once, pressable, swatches } from "../web/dom.js";
import { progress } from "../web/numbers.js";
import { FIRST_IMAGES, Player } from "./player.js";

export const part = (name, heading, panels, about = "") => `
  <section class="dfkd-part" data-part="${name}"><h3>${heading}<small></small></h3>${about}
    <div class="dfkd-grid">${panels}</div></section>`;

// A button that begins and stops a measurement in the background.
export const measurement = (name) => `
  <div class="dfkd-job dfkd-${name}"><button></button><span role="status"></span></div>`;

export class StagedPlayer extends Player {
  // `early` is the name of the first stage's part, `job` that of the measurement, whose button is in the box `box`.
  constructor(host, name, parts, { early, job, box }) {
    super(host, name, `<ol class="dfkd-story"></ol><div class="dfkd-parts">${parts}</div>`);
    this.early = early;
    this.box = this.at(box);
    this.box.querySelector("button").addEventListener("click", () => {
      this.questions.order(this.data.job.state === "running" ? "stop " + job : job);
    });
  }

  begin(data) { super.begin(data); this.newest = {}; this.beside = null; }

  // A sheet that belongs to no step: Python sends it until it is told that it is here.
  arrived() {
    const { beside } = this.data;
    if (!beside || beside.version === this.beside?.version) return;
    this.beside = this.opened(beside);
    this.questions.tell();
  }

  alsoTold() { return { has: this.beside?.version ?? null }; }

  get border() { return this.data.border; }
  get reached() { return this.view ?? this.data.step; }
  get part() { return this.border && this.reached <= this.border ? this.early : "student"; }
  // Known before the run comes there.
  get laterStages() {
    const entered = super.laterStages;
    if (entered.length || !this.border) return entered;
    return [{ step: this.border + 1, name: "student", title: "The student learns" }];
  }

  seen(...names) { return [this.part, ...super.seen(...names)]; }

  // The newest sheet among recorded `steps` up to the step shown; while it is on its way, the one drawn before.
  // `of`: where it is in its frame.
  sheetOf(kind, steps, of = (frame) => frame) {
    const step = steps.findLast((one) => one <= (this.view ?? Infinity));
    if (step == null) return null;
    this.has(step);
    const sheet = of(this.frames.get(step));
    if (sheet?.ready) this.newest[kind] = sheet;
    return this.newest[kind] ?? null;
  }

  // Why there are none to see.
  get noImages() {
    return this.live || this.data.state === "queued" ? FIRST_IMAGES : "None were recorded.";
  }

  head() {
    super.head();
    const title = this.stageAt(Math.max(1, this.reached))?.title;
    if (title) this.at("what").prepend(element("b.dfkd-stage-title", title), " ");
    if (this.part === this.early) this.at("score").replaceChildren(...this.earlyScore());
  }

  // The way of the images to the student and what becomes of it, in its order, as [part, title, sentence]; each leads
  // to its part of the page.
  story(stages) {
    once(this.at("story"), [stages, this.part], (box) => {
      const seek = (name) => this.root.querySelector(`[data-part=${name}]`).scrollIntoView({ behavior: "smooth" });
      const entry = ([name, title, about], index) => {
        const heading = pressable(`${index + 1} ${title}`, () => seek(name));
        return element("li", { "aria-current": name === this.part ? "step" : null }, heading, element("p", about));
      };
      box.replaceChildren(...stages.map(entry));
    });
  }

  // Parts in `order`, with notes beside their headings; those that this run does not have are left out.
  arrange(order, notes) {
    once(this.at("parts"), [this.part, order, notes], (box) => {
      const sections = Object.fromEntries([...box.children].map((section) => [section.dataset.part, section]));
      for (const [name, section] of Object.entries(sections)) {
        section.hidden = !order.includes(name);
        section.querySelector("small").textContent = notes[name] ?? "";
      }
      box.dataset.now = this.part;
      box.prepend(...order.map((name) => sections[name]));
    });
  }

  // The student's part and the early one, each with a note when it is not about the step shown.
  aboutStages() {
    const early = this.part === this.early;
    return {
      student: early ? "begins at step " + (this.border + 1) : "",
      [this.early]: early || !this.border ? "" : "as it was at step " + this.border,
    };
  }

  // A legend, and beside it chips to press: [words, pressed, what it does, colour of a swatch].
  chips(name, entries, chips, title = "") {
    once(this.at(name).querySelector("h4 span"), [entries, chips, this.colour.key], (box) => {
      const made = chips.map(([words, pressed, act, color]) => {
        const chip = pressable(words, act, { className: "dfkd-chip", title, "aria-pressed": String(pressed) });
        if (color) chip.prepend(element("s.box", { style: { color } }));
        return chip;
      });
      box.replaceChildren(...swatches(entries, (words) => this.term(words)), ...made);
    });
  }

  // The measurement's button, and how far it is or `words`.
  measuring(found, [first, again], words) {
    const { job, measurable } = this.data, running = job.state === "running";
    const [button, status] = this.box.children;
    button.textContent = running ? "Stop" : found ? again : first;
    button.disabled = !running && !measurable;
    status.textContent = running ? progress(job) : job.state === "failed" ? job.message : words;
  }
}
