// Where in a run the user looks: at the newest recorded step, or at one chosen by mouse, arrow keys or playing.

import { press, write } from "./dom.js";
import { clamp } from "./numbers.js";

const PLAY_SECONDS = 20;
const FASTEST_MS = 150;
const AHEAD = 8; // steps asked for before they are played
const MOVES = {
  ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity,
};

// `what` kind of step is shown; `more` buttons.
export const track = (what, more = "") => `
  <div class="dfkd-track">
    <button class="dfkd-play" title="Play what is recorded from here">▶ Replay</button>
    <div class="dfkd-slide"><div class="dfkd-bar"><div class="dfkd-fill"></div></div><div class="dfkd-entries"></div>
      <input type="range" min="0" step="1" aria-label="${what} step shown"></div>
    <div class="dfkd-where"></div>
    <button class="dfkd-follow" title="Always show the newest recorded step">Follow live</button>${more}
  </div>`;

// The one of `steps` nearest to `step`; the newest if that is null, null without any.
export function nearest(steps, step) {
  if (!steps.length || step == null) return steps.at(-1) ?? null;
  return steps.reduce((best, one) => (Math.abs(one - step) < Math.abs(best - step) ? one : best));
}

export class Scrubber {
  // `owner` has the recorded `steps`, ascending; `has(step)`, which also asks for what is missing; and `moved(told)`:
  // draws, and tells Python where the user looks now. `even`: the steps lie equally far from each other on the track.
  constructor(root, owner, even = false) {
    Object.assign(this, { owner, even, view: null, timer: null });
    this.at = (name) => root.querySelector(".dfkd-" + name);
    this.slider = root.querySelector(".dfkd-slide input");
    this.slider.addEventListener("input", () => this.goTo(this.stepAt(Number(this.slider.value))));
    this.slider.addEventListener("keydown", (event) => this.key(event));
    this.at("follow").addEventListener("click", () => this.follow());
    this.at("play").addEventListener("click", () => (this.playing ? this.stop(true) : this.play()));
  }

  // Another run, looked at where a link says.
  begin(view) { this.stop(); this.view = view ?? null; }
  get playing() { return this.timer != null; }

  // The step looked at: recorded, or null without any.
  get step() { return this.nearest(this.view); }
  get place() { return this.owner.steps.indexOf(this.step); }

  nearest(step) { return nearest(this.owner.steps, step); }

  stepAt(value) { return this.even ? this.owner.steps[value] : this.nearest(value); }

  key(event) {
    const { steps } = this.owner;
    if (!(event.key in MOVES) || !steps.length) return;
    event.preventDefault();
    this.goTo(steps[clamp(this.place + MOVES[event.key], 0, steps.length - 1)]);
  }

  goTo(step) {
    if (step == null) return;
    this.stop();
    this.view = step;
    this.owner.moved(true);
  }

  follow() { this.stop(); this.view = null; this.owner.moved(true); }

  // Step by step to the end; each is waited for.
  play(place = this.place) {
    const count = this.owner.steps.length;
    if (count < 2) return;
    if (place >= count - 1) place = 0;
    const on = () => {
      const { steps } = this.owner;
      const there = steps.slice(place, place + AHEAD).map((step) => this.owner.has(step));
      if (!there[0]) return;
      place += 1;
      if (place >= steps.length - 1) return this.follow();
      this.view = steps[place];
      this.owner.moved(false);
    };
    this.view = this.owner.steps[place]; // at once, not only when its images have come
    const timer = (this.timer = setInterval(on, clamp((1000 * PLAY_SECONDS) / count, FASTEST_MS, 700)));
    setTimeout(() => this.timer === timer && on(), FASTEST_MS); // it moves as soon as it can
    this.owner.moved(false);
  }

  stop(told = false) {
    if (!this.playing) return;
    clearInterval(this.timer);
    this.timer = null;
    this.owner.moved(told);
  }

  // `live`: whether the run goes on; `total` its steps, `done` those behind it.
  draw({ live, total, done, where }) {
    const { slider, owner, step } = this;
    slider.max = this.even ? Math.max(0, owner.steps.length - 1) : Math.max(1, total);
    slider.value = this.even ? this.place : (step ?? 0);
    slider.disabled = owner.steps.length < 2;
    slider.setAttribute("aria-valuetext", step == null ? "nothing recorded" : `step ${step} of ${total}`);
    this.at("fill").style.width = Math.min(100, (100 * done) / Math.max(1, total)) + "%";
    const play = (this.playing ? "❚❚" : "▶") + " Replay";
    write(this.at, { where, follow: live ? "Follow live" : "To the end", play });
    press(this.at("follow"), this.view == null);
    this.at("play").disabled = owner.steps.length < 2;
    this.at("play").setAttribute("aria-label", this.playing ? "Stop the replay" : "Replay the run");
  }
}
