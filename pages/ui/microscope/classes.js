// What the student learns from, class by class. A click on a bar selects the class.

import { sharp, stroke } from "../web/canvas.js";
import { whole } from "../web/numbers.js";
import { placesOf } from "../web/sheet.js";
import { Bars } from "./bars.js";
import { countedBy, howTo } from "./samples.js";

const LOOK = { strong: [0.85, 0.35], pale: [0.28, 0.16] };

export class ClassBars extends Bars {
  constructor(panel, scope) {
    super(panel, scope, { left: 32, room: [1.1, 1] });
    this.note = panel.querySelector("h4 span");
    this.listen("click", (event) => this.click(event));
    this.listen("pointermove", (event) => this.point(event));
  }

  count(classes) { return countedBy((index) => this.scope.frame.label[index], classes, this.scope); }

  classAt(event) {
    const { frame, data } = this.scope, index = Math.floor(this.shareAt(event) * data.classes.length);
    return frame && index >= 0 && index < data.classes.length ? index : null;
  }

  click(event) {
    const { frame, selection } = this.scope, label = this.classAt(event);
    if (label != null) selection.take(placesOf(frame.label, label), howTo(event));
  }

  point(event) {
    const { frame, data } = this.scope, label = this.classAt(event);
    this.tip.hidden = label == null;
    if (label != null) this.hint(event, data.classes[label], placesOf(frame.label, label));
  }

  draw() {
    const { frame, verdict, data } = this.scope, names = data.classes;
    this.head(frame, verdict, data);
    if (!frame) return sharp(this.canvas);
    const bars = this.count(names.length);
    const on = this.axes(bars), each = (on.right - on.left) / names.length;
    const gap = each > 6 ? Math.min(4, each * 0.12) : 0.3;
    bars.forEach((one, label) => {
      const x = on.left + label * each + gap, width = each - 2 * gap;
      this.bar(on, x, width, one, LOOK);
      const was = on.y(one.run); // where the bar ended in the run, while another τ is tried
      if (verdict.hypothetical) stroke(on.context, [[x, was], [x + width, was]], on.theme.text, 2);
    });
    this.labels(on, names, each);
  }

  head(frame, verdict, data) {
    const learned = verdict?.hypothetical ? "Would have learned from" : "The student learns from";
    const judged = frame?.source === "probes" || (frame?.unapplied && !verdict.hypothetical); // not learned by
    this.note.previousElementSibling.textContent = judged ? "Clean by class" : learned;
    const sure = verdict?.confidence == null ? "" : ` · ${whole(verdict.confidence)} sure`;
    const words = frame && `${verdict.kept} samples · ${verdict.covered} / ${data.classes.length} classes${sure}`;
    this.note.textContent = words ?? "";
    this.note.title = "Kept samples, classes that have any, and the teacher's mean confidence in those kept";
    const about = "Clean and rejected samples by the teacher's class. " + this.note.textContent;
    this.canvas.setAttribute("aria-label", about);
  }

  // Names where they fit, else every so many; all of them appear under the pointer.
  labels({ context, theme, height, left, x }, names, each) {
    context.fillStyle = theme.text;
    const fit = Math.max(...names.map((name) => context.measureText(name).width)) + 4 <= each;
    const every = fit ? 1 : Math.ceil(34 / each);
    names.forEach((name, label) => {
      if (label % every) return;
      context.fillText(fit ? name : String(label), left + (label + 0.5) * each, height - 20);
    });
    context.fillText("the teacher's class" + (fit ? "" : ", by number"), x(0.5), height - 4);
  }
}
