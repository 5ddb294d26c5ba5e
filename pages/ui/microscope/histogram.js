// Judged losses with the mixture that splits them; a drag over the bars selects their samples.

import { binOf, expected, spread } from "../web/curves.js";
import { border, sharp, stroke } from "../web/canvas.js";
import { legend } from "../web/dom.js";
import { clamp } from "../web/numbers.js";
import { bar, countAxis, hint } from "./bars.js";
import { countedBy, howTo } from "./samples.js";

const BINS = 40;
const MOST = 0.999; // of a posterior cut

export class Histogram {
  constructor(panel, scope) {
    Object.assign(this, { scope, panel });
    this.canvas = panel.querySelector("canvas");
    this.tip = panel.querySelector(".scope-tip");
    this.cursor = null; // the bars under the keyboard: [anchor, end]
    const listen = (name, act) => this.canvas.addEventListener(name, act);
    listen("pointerdown", (event) => this.press(event));
    listen("pointermove", (event) => this.move(event));
    listen("pointerup", () => (this.drag = null));
    listen("pointerleave", () => (this.tip.hidden = true));
    listen("keydown", (event) => this.key(event));
    listen("blur", () => { this.cursor = null; scope.refresh(); });
    [this.range, this.number] = panel.querySelectorAll("input");
    for (const input of [this.range, this.number]) {
      input.addEventListener("input", () => {
        if (input.value !== "") scope.cut(clamp(Number(input.value), 0, MOST));
      });
    }
    this.reset = panel.querySelector(".scope-reset");
    this.reset.addEventListener("click", () => scope.cut(null));
  }

  get box() { return { left: 38, right: this.canvas.clientWidth - 8, top: 8, bottom: this.canvas.clientHeight - 34 }; }

  binAt(event) {
    const { left, right } = this.box;
    return binOf(clamp((event.offsetX - left) / (right - left), 0, 1), BINS);
  }

  press(event) {
    if (event.button !== 0 || !this.scope.frame) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.tip.hidden = true;
    this.drag = { from: this.binAt(event), how: howTo(event), before: this.scope.selection.indices() };
    this.brush(this.binAt(event));
  }

  move(event) {
    const bin = this.binAt(event);
    if (this.drag) this.brush(bin);
    else this.hint(event, bin);
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
    const [first, last] = [Math.min(one, other), Math.max(one, other)], { frame } = this.scope;
    return [...frame.scaled.keys()].filter((index) => {
      const bin = binOf(frame.scaled[index], BINS);
      return bin >= first && bin <= last;
    });
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

  hint(event, bin) {
    const { frame, verdict } = this.scope;
    if (!frame) return;
    const members = this.members(bin, bin);
    const clean = members.filter((index) => verdict.clean[index]).length;
    const nats = [bin, bin + 1].map((edge) => (frame.low + (edge / BINS) * (frame.high - frame.low)).toPrecision(2));
    const words = `${nats[0]} to ${nats[1]} nats: ${clean} clean, ${members.length - clean} rejected`;
    hint(this.tip, this.canvas, event, words);
  }

  draw() {
    const { frame, verdict, selection, theme } = this.scope;
    const { context, height } = sharp(this.canvas);
    this.head(frame, verdict, theme);
    if (!frame) return;
    const stacks = this.count(frame, verdict, selection);
    const tallest = Math.max(1, ...stacks.map((stack) => stack.clean + stack.rejected));
    const { left, right, top, bottom } = this.box;
    const x = (value) => left + value * (right - left);
    const y = (count) => bottom - (count / (1.12 * tallest)) * (bottom - top);
    context.font = `12px ${theme.font}`;
    countAxis(context, theme, { left, right, y, most: 1.1 * tallest });
    this.lossAxis(context, frame, x, height);
    if (verdict.region) this.region(context, verdict, theme, { x, top, bottom });
    const gap = 0.6, width = (right - left) / BINS - 2 * gap;
    const look = { width, y, brushed: selection.size > 0, strong: [0.8, 0.8], pale: [0.28, 0.28] };
    stacks.forEach((stack, bin) => bar(context, theme, stack, { x: x(bin / BINS) + gap, ...look, least: 2 }));
    if (verdict.region) this.components(context, frame, theme, { x, y });
    if (this.cursor) this.outline(context, theme, { x, top, bottom });
  }

  head(frame, verdict, theme) {
    const mixture = frame?.mixture;
    const usable = Boolean(mixture?.usable);
    const entries = [["clean", theme.clean, "box"]];
    if (mixture) entries.push(["rejected", theme.rejected, "box"]);
    if (usable) entries.push(["mixture", theme.text, "line"], ["accepted", theme.clean, "faint"]);
    const weights = usable && "weights " + mixture.weights.map((weight) => weight.toFixed(2)).join(" / ");
    const note = !frame ? "" : !mixture ? "no selection" : weights || "all losses equal: all kept";
    legend(this.panel.querySelector("h4 span"), entries, note);
    const cut = verdict?.threshold ?? 0.5;
    const tried = Boolean(verdict?.hypothetical);
    for (const input of [this.range, this.number]) input.disabled = !frame?.posterior || !usable;
    this.range.value = cut;
    if (document.activeElement !== this.number || !tried) this.number.value = Number(cut.toFixed(3));
    this.range.style.setProperty("--own", (mixture?.threshold ?? 0.5) / MOST);
    this.panel.querySelector("em").hidden = this.reset.hidden = !tried;
    const words = frame
      ? `Histogram of judged losses, ${verdict.kept} clean of ${frame.count}. Arrows move over the bars, Enter selects.`
      : "Nothing recorded yet";
    this.canvas.setAttribute("aria-label", words);
  }

  count(frame, verdict, selection) {
    return countedBy((index) => binOf(frame.scaled[index], BINS), BINS, { frame, verdict, selection });
  }

  lossAxis(context, frame, x, height) {
    Object.assign(context, { textAlign: "center", textBaseline: "alphabetic" });
    for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
      context.fillText(String(tick), x(tick) - (tick === 1 ? 4 : 0), height - 20);
    }
    const words = `judged loss, scaled: 1 is ${frame.high.toPrecision(2)} nats`;
    context.fillText(words, (x(0) + x(1)) / 2, height - 4);
    context.save();
    context.translate(11, (height - 34) / 2);
    context.rotate(-Math.PI / 2);
    context.fillText("samples", 0, 0);
    context.restore();
  }

  region(context, verdict, theme, { x, top, bottom }) {
    context.fillStyle = theme.clean;
    for (const [from, to] of verdict.region) {
      context.globalAlpha = 0.14;
      context.fillRect(x(from), top, x(to) - x(from), bottom - top);
      context.globalAlpha = 1;
      const edges = [from, to].filter((edge) => edge > 0 && edge < 1).map(x);
      for (const edge of edges) stroke(context, [[edge, top], [edge, bottom]], theme.clean, 1, [4, 3]);
    }
  }

  components(context, { mixture, count }, theme, { x, y }) {
    const places = spread(0, 1, 241);
    for (const k of [0, 1]) {
      const points = places.map((value) => [x(value), y(expected(mixture, k, value, count, BINS))]);
      stroke(context, points, theme.text, 1.6, k ? [2, 3] : []);
    }
  }

  outline(context, theme, { x, top, bottom }) {
    const [first, last] = this.cursor.toSorted((a, b) => a - b), left = x(first / BINS);
    border(context, [left, top, x((last + 1) / BINS) - left, bottom - top], theme.student, 2);
  }
}
