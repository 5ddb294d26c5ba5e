// What the student learns from, class by class. A click on a bar selects the class.

import { sharp, stroke } from "../web/canvas.js";
import { whole } from "../web/numbers.js";
import { placesOf } from "../web/sheet.js";
import { bar, countAxis, hint } from "./bars.js";
import { countedBy, howTo } from "./samples.js";

export class ClassBars {
  constructor(panel, scope) {
    this.scope = scope;
    this.note = panel.querySelector("h4 span");
    this.canvas = panel.querySelector("canvas");
    this.tip = panel.querySelector(".scope-tip");
    this.canvas.addEventListener("click", (event) => this.click(event));
    this.canvas.addEventListener("pointermove", (event) => this.hint(event));
    this.canvas.addEventListener("pointerleave", () => (this.tip.hidden = true));
  }

  get box() { return { left: 32, right: this.canvas.clientWidth - 6, top: 8, bottom: this.canvas.clientHeight - 34 }; }

  classAt(event) {
    const { left, right } = this.box, count = this.scope.data.classes.length;
    const index = Math.floor(((event.offsetX - left) / (right - left)) * count);
    return index >= 0 && index < count ? index : null;
  }

  click(event) {
    const { frame, selection } = this.scope, label = frame && this.classAt(event);
    if (label != null) selection.take(placesOf(frame.label, label), howTo(event));
  }

  hint(event) {
    const { frame, verdict, data } = this.scope;
    const label = frame ? this.classAt(event) : null;
    this.tip.hidden = label == null;
    if (label == null) return;
    const members = placesOf(frame.label, label);
    const clean = members.filter((index) => verdict.clean[index]).length;
    const words = `${data.classes[label]}: ${clean} clean, ${members.length - clean} rejected`;
    hint(this.tip, this.canvas, event, words);
  }

  draw() {
    const { frame, verdict, selection, theme, data } = this.scope;
    const { context, height } = sharp(this.canvas);
    this.head(frame, verdict, data);
    if (!frame) return;
    const names = data.classes, bars = this.count(names.length);
    const tallest = Math.max(1, ...bars.map((one) => one.clean + one.rejected));
    const { left, right, top, bottom } = this.box, each = (right - left) / names.length;
    const gap = each > 6 ? Math.min(4, each * 0.12) : 0.3;
    const width = each - 2 * gap;
    const y = (count) => bottom - (count / (1.1 * tallest)) * (bottom - top);
    context.font = `12px ${theme.font}`;
    countAxis(context, theme, { left, right, y, most: tallest });
    const look = { width, y, brushed: selection.size > 0, strong: [0.85, 0.35], pale: [0.28, 0.16] };
    bars.forEach((one, label) => {
      const x = left + label * each + gap;
      bar(context, theme, one, { x, ...look });
      const was = y(one.run); // where the bar ended in the run, while another τ is tried
      if (verdict.hypothetical) stroke(context, [[x, was], [x + width, was]], theme.text, 2);
    });
    this.labels(context, theme, names, { left, each, height });
  }

  head(frame, verdict, data) {
    const learned = verdict?.hypothetical ? "Would have learned from" : "The student learns from";
    this.note.previousElementSibling.textContent = frame?.source === "probes" ? "Kept by class" : learned;
    const sure = verdict?.confidence == null ? "" : ` · ${whole(verdict.confidence)} sure`;
    const words = frame && `${verdict.kept} samples · ${verdict.covered} / ${data.classes.length} classes${sure}`;
    this.note.textContent = words ?? "";
    this.note.title = "Kept samples, classes that have any, and the teacher's mean confidence in those kept";
    const about = "Clean and rejected samples by the teacher's class. " + this.note.textContent;
    this.canvas.setAttribute("aria-label", about);
  }

  count(classes) { return countedBy((index) => this.scope.frame.label[index], classes, this.scope); }

  // Names where they fit, else every so many; all of them appear under the pointer.
  labels(context, theme, names, { left, each, height }) {
    Object.assign(context, { fillStyle: theme.text, textAlign: "center", textBaseline: "alphabetic" });
    const widest = Math.max(...names.map((name) => context.measureText(name).width));
    const fit = widest + 4 <= each;
    const every = fit ? 1 : Math.ceil(34 / each);
    names.forEach((name, label) => {
      if (label % every) return;
      context.fillText(fit ? name : String(label), left + (label + 0.5) * each, height - 20);
    });
    const words = "the teacher's class" + (fit ? "" : ", by number");
    context.fillText(words, left + (each * names.length) / 2, height - 4);
  }
}
