// Slow motion: one step of the method, phase by phase, on a diagram whose boxes show that step's own tensors.
// The phases, their titles and captions come from the method.

import { element, once, write } from "../web/dom.js";
import { nearest } from "../web/scrubber.js";
import { Sheet } from "../web/sheet.js";
import { contentOf } from "./tensors.js";

const SKELETON = `
  <div class="dfkd-slow-head">
    <b class="dfkd-slow-where"></b>
    <button class="dfkd-slow-back" aria-label="The phase before" title="The phase before">◀</button>
    <button class="dfkd-slow-play" title="Go on by itself">▶ Play</button>
    <button class="dfkd-slow-next" title="The next phase">Next phase ▶</button>
    <span class="dfkd-slow-note" role="status"></span>
    <button class="dfkd-slow-close" aria-label="Leave slow motion" title="Escape">✕</button>
  </div>
  <ol class="dfkd-flow"></ol>
  <p class="dfkd-slow-caption" aria-live="polite"></p>`;
const PHASE_MS = 2200;
const OTHERS = "[data-testid=stPopoverBody], [role=dialog], [role=combobox]"; // where Escape closes something else

export class SlowMotion {
  constructor(stage, root) {
    Object.assign(this, { stage, root });
    root.innerHTML = SKELETON;
    this.at = (name) => root.querySelector(".dfkd-slow-" + name);
    this.frames = new Map();
    this.on = false;
    const press = (name, act) => this.at(name).addEventListener("click", act);
    press("back", () => this.byHand(() => this.back()));
    press("next", () => this.byHand(() => this.next()));
    press("play", () => (this.timer ? this.pause() : this.play()));
    press("close", () => this.leave());
    const heard = (event) => this.root.isConnected ? this.key(event) : document.removeEventListener("keydown", heard);
    document.addEventListener("keydown", heard); // wherever the keyboard is
  }

  get data() { return this.stage.data; }
  get live() { return this.stage.live; }
  get frame() { return this.frames.get(this.step); }
  // The phases of the step shown: a run of several stages has others in each.
  get info() {
    const all = this.data.phases || [];
    if (this.frame) this.names = this.frame.map((phase) => phase.name);
    return this.names ? all.filter((info) => this.names.includes(info.name)) : all;
  }

  enter() {
    this.stage.scrubber.stop();
    this.begun();
    this.phase = 0;
    this.step = null;
    if (this.live) this.another();
    else this.goTo(nearest(this.data.slow_steps, this.stage.view), 0);
    this.stage.draw();
    this.at("next").focus();
  }

  // It pauses a run that goes on, which goes on again afterwards.
  begun() { this.on = true; this.wasRunning = this.data.state === "running"; }

  leave() {
    this.pause();
    this.on = false;
    this.waiting = null;
    if (this.wasRunning && this.live) this.stage.questions.order("go on");
    this.stage.moved(true);
    this.stage.at("slowly").focus();
  }

  key(event) {
    if (event.key !== "Escape" || !this.on || event.defaultPrevented) return;
    if (event.target.closest?.(OTHERS)) return;
    event.preventDefault(); // what else Escape closes stays open
    this.leave();
  }

  byHand(act) { this.pause(); act(); }

  // A live run does one more step for us, and stays paused after it.
  another() { this.waiting = this.data.slow_steps.at(-1) ?? 0; this.stage.questions.order("slow"); }

  goTo(step, phase) {
    if (step == null) return;
    Object.assign(this, { step, phase });
    if (!this.live) this.stage.scrubber.view = this.stage.scrubber.nearest(step);
    this.stage.moved(true);
  }

  next() {
    if (this.waiting != null) return;
    if (this.phase < this.info.length - 1) return this.goTo(this.step, this.phase + 1);
    const steps = this.data.slow_steps, index = steps.indexOf(this.step);
    if (index >= 0 && index < steps.length - 1) return this.goTo(steps[index + 1], 0);
    if (!this.live) return this.pause();
    this.another();
    this.stage.draw();
  }

  back() {
    if (this.phase > 0) return this.goTo(this.step, this.phase - 1);
    const index = this.data.slow_steps.indexOf(this.step);
    if (index > 0) this.goTo(this.data.slow_steps[index - 1], this.info.length - 1);
  }

  play() { this.timer = setInterval(() => this.next(), PHASE_MS); this.draw(); }
  pause() { clearInterval(this.timer); this.timer = null; }

  // Another run.
  begin() {
    this.pause();
    this.on = this.linked = false;
    this.frames.forEach((phases) => phases.forEach(({ sheet }) => sheet?.close()));
    this.frames.clear();
    this.waiting = this.step = this.names = null;
  }

  update() {
    for (const [key, { phases }] of Object.entries(this.data.slow_frames)) {
      if (this.frames.has(Number(key))) continue;
      const opened = phases.map(({ sheet, ...phase }) => ({ ...phase, sheet: sheet && new Sheet(sheet) }));
      this.frames.set(Number(key), opened);
    }
    const newest = this.data.slow_steps.at(-1) ?? 0;
    // Not one that was recorded before the run heard of us.
    const taken = !this.live || (this.data.state === "paused" && newest === this.data.step);
    if (this.on && this.waiting != null && newest > this.waiting && taken) {
      this.waiting = null;
      this.goTo(newest, 0);
    }
    if (!this.on && !this.linked && this.data.slow) { // a link that leads here
      this.begun();
      [this.step, this.phase] = this.data.slow;
      if (!this.live) this.stage.scrubber.view ??= this.stage.scrubber.nearest(this.step);
    }
    this.linked = true;
  }

  draw() {
    this.root.hidden = !this.on;
    if (!this.on) return;
    const { data, step, info, frame } = this, steps = data.slow_steps;
    if (frame) this.phase = Math.min(this.phase, info.length - 1); // another stage has other phases
    const { phase } = this;
    const where = step == null ? "Slow motion" : `Step ${step} · phase ${phase + 1} of ${info.length}`;
    write(this.at, { where, note: this.note(), play: this.timer ? "❚❚ Pause" : "▶ Play" });
    this.at("next").disabled = !this.live && phase === info.length - 1 && step === steps.at(-1);
    this.at("back").disabled = phase === 0 && step === steps[0];
    this.caption(frame ? info[phase] : null);
    Object.assign(this.root.dataset, { step: step ?? "", phase: frame ? info[phase].name : "" });
    const flow = this.root.querySelector(".dfkd-flow");
    once(flow, [this.stage.run, step, Boolean(frame), this.stage.colour.key], () =>
      flow.replaceChildren(...info.map((one, index) => this.box(one, index))),
    );
    [...flow.children].forEach((box, index) => {
      box.classList.toggle("now", index === phase);
      box.classList.toggle("later", index > phase);
      if (index === phase) box.setAttribute("aria-current", "step");
      else box.removeAttribute("aria-current");
    });
  }

  caption(info) {
    once(this.at("caption"), [info?.name ?? ""], (box) => {
      const terms = (info?.terms ?? []).flatMap((name) => [this.stage.term(name), " "]);
      box.replaceChildren(info?.caption ?? "", element("small", ...terms));
    });
  }

  note() {
    const none = !this.data.slow_steps.length && !this.live;
    if (none) return "This run recorded no step in slow motion (phases every: 0).";
    if (this.waiting != null) return "Computing one step…";
    if (this.step != null && !this.frame) return "Loading…";
    if (!this.live) return "Recorded steps of this run.";
    const after = this.wasRunning ? " It goes on when you leave." : "";
    return `The run is paused; each round is one more step of it.${after}`;
  }

  box(info, index) {
    const phase = this.frame?.find((one) => one.name === info.name);
    const heading = element("h5", `${index + 1} ${info.title}`);
    const body = element("div.dfkd-box-body", phase && contentOf(phase, this.stage));
    const box = element("li.dfkd-box", { dataset: { phase: info.name } }, heading, body);
    box.addEventListener("click", () => this.byHand(() => this.goTo(this.step, index)));
    return box;
  }
}
