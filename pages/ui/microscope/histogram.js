// Judged losses with the mixture that splits them; a drag over the bars selects their samples.

import { border, sharp, stroke } from "../web/canvas.js";
import { binOf, expected, noMixture, spread } from "../web/curves.js";
import { legend } from "../web/dom.js";
import { clamp } from "../web/numbers.js";
import { Bars } from "./bars.js";
import { countedBy, howTo } from "./samples.js";

const BINS = 40;
const MOST = 0.999; // of a posterior cut
const LOOK = { strong: [0.8, 0.8], pale: [0.28, 0.28], least: 2 };
const GAP = 0.6;

export class Histogram extends Bars {
  constructor(panel, scope) {
    super(panel, scope, { left: 38, room: [1.12, 1.1] });
    this.cursor = null; // the bars under the keyboard: [anchor, end]
    this.listen("pointerdown", (event) => this.press(event));
    this.listen("pointermove", (event) => this.move(event));
    this.listen("pointerup", () => (this.drag = null));
    this.listen("keydown", (event) => this.key(event));
    this.listen("blur", () => { this.cursor = null; scope.refresh(); });
    this.inputs = panel.querySelectorAll("input");
    for (const input of this.inputs) {
      input.addEventListener("input", () => input.value !== "" && scope.cut(clamp(Number(input.value), 0, MOST)));
    }
    this.reset = panel.querySelector(".scope-reset");
    this.reset.addEventListener("click", () => scope.cut(null));
  }

  binAt(event) { return binOf(clamp(this.shareAt(event), 0, 1), BINS); }

  press(event) {
    if (event.button !== 0 || !this.scope.frame) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.tip.hidden = true;
    this.drag = { from: this.binAt(event), how: howTo(event), before: this.scope.selection.indices() };
    this.brush(this.binAt(event));
  }

  move(event) {
    const { frame } = this.scope, bin = this.binAt(event);
    if (this.drag) return this.brush(bin);
    if (!frame) return;
    const nats = [bin, bin + 1].map((edge) => (frame.low + (edge / BINS) * (frame.high - frame.low)).toPrecision(2));
    this.hint(event, `${nats.join(" to ")} nats`, this.members(bin, bin));
  }

  // Selects what lies in the bars from where the drag began to `bin`.
  brush(bin) {
    const { from, how, before, to } = this.drag;
    if (to === bin) return;
    this.drag.to = bin;
    this.scope.selection.drag(this.members(from, bin), how, before);
  }

  // The samples in the bars from one to another.
  members(one, other) {
    const [first, last] = [Math.min(one, other), Math.max(one, other)], { scaled } = this.scope.frame;
    const bin = (index) => binOf(scaled[index], BINS);
    return [...scaled.keys()].filter((index) => bin(index) >= first && bin(index) <= last);
  }

  key(event) {
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -BINS, End: BINS };
    if (!this.scope.frame) return;
    if (event.key in moves) {
      const [anchor, end] = this.cursor || [0, -1];
      const next = clamp(end + moves[event.key], 0, BINS - 1);
      this.cursor = [event.shiftKey ? anchor : next, next];
    } else if (event.key === "Enter" || event.key === " ") {
      this.scope.selection.take(this.members(...(this.cursor || [0, BINS - 1])));
    } else return;
    event.preventDefault();
    this.scope.refresh();
  }

  count() { return countedBy((index) => binOf(this.scope.frame.scaled[index], BINS), BINS, this.scope); }

  draw() {
    const { frame, verdict, theme } = this.scope;
    this.head(frame, verdict, theme);
    if (!frame) return sharp(this.canvas);
    const stacks = this.count(), on = this.axes(stacks), width = on.x(1 / BINS) - on.x(0) - 2 * GAP;
    this.lossAxis(on, frame);
    if (verdict.region) this.region(on, verdict);
    stacks.forEach((stack, bin) => this.bar(on, on.x(bin / BINS) + GAP, width, stack, LOOK));
    if (verdict.region) this.components(on, frame);
    if (this.cursor) this.outline(on);
  }

  head(frame, verdict, theme) {
    const mixture = frame?.mixture, usable = Boolean(mixture?.usable);
    const entries = [["clean", theme.clean, "box"]];
    if (mixture) entries.push(["rejected", theme.rejected, "box"]);
    if (usable) entries.push(["mixture", theme.text, "line"], ["accepted", theme.clean, "faint"]);
    const weights = usable && "weights " + mixture.weights.map((weight) => weight.toFixed(2)).join(" / ");
    const note = !frame ? "" : !mixture ? "no selection" : weights || noMixture(mixture);
    legend(this.panel.querySelector("h4 span"), entries, note);
    const cut = verdict?.threshold ?? 0.5, tried = Boolean(verdict?.hypothetical), [range, number] = this.inputs;
    const movable = Boolean(frame?.posterior) && (usable || mixture?.by_class); // posteriors do not depend on τ
    for (const input of this.inputs) input.disabled = !movable;
    range.value = cut;
    if (document.activeElement !== number || !tried) number.value = Number(cut.toFixed(3));
    range.style.setProperty("--own", (mixture?.threshold ?? 0.5) / MOST);
    this.panel.querySelector("em").hidden = this.reset.hidden = !tried;
    const words = frame
      ? `Histogram of judged losses, ${verdict.kept} clean of ${frame.count}. Arrows move over the bars, Enter selects.`
      : "Nothing recorded yet";
    this.canvas.setAttribute("aria-label", words);
  }

  lossAxis({ context, height, x }, frame) {
    for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
      context.fillText(String(tick), x(tick) - (tick === 1 ? 4 : 0), height - 20);
    }
    context.fillText(`judged loss, scaled: 1 is ${frame.high.toPrecision(2)} nats`, x(0.5), height - 4);
    context.save();
    context.translate(11, (height - 34) / 2);
    context.rotate(-Math.PI / 2);
    context.fillText("samples", 0, 0);
    context.restore();
  }

  region({ context, theme, x, top, bottom }, verdict) {
    context.fillStyle = theme.clean;
    for (const [from, to] of verdict.region) {
      context.globalAlpha = 0.14;
      context.fillRect(x(from), top, x(to) - x(from), bottom - top);
      context.globalAlpha = 1;
      const edges = [from, to].filter((edge) => edge > 0 && edge < 1).map(x);
      for (const edge of edges) stroke(context, [[edge, top], [edge, bottom]], theme.clean, 1, [4, 3]);
    }
  }

  components({ context, theme, x, y }, { mixture, count }) {
    for (const k of [0, 1]) {
      const points = spread(0, 1, 241).map((value) => [x(value), y(expected(mixture, k, value, count, BINS))]);
      stroke(context, points, theme.text, 1.6, k ? [2, 3] : []);
    }
  }

  outline({ context, theme, x, top, bottom }) {
    const [first, last] = this.cursor.toSorted((a, b) => a - b), left = x(first / BINS);
    border(context, [left, top, x((last + 1) / BINS) - left, bottom - top], theme.student, 2);
  }
}
