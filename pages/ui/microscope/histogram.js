// Judged losses with the mixture that splits them; a drag over the bars selects their samples.

const BINS = 40;

class Histogram {
  constructor(panel, scope) {
    this.scope = scope;
    this.panel = panel;
    this.canvas = panel.querySelector("canvas");
    this.tip = panel.querySelector(".scope-tip");
    this.cursor = null; // the bars under the keyboard: [anchor, end]
    this.canvas.addEventListener("pointerdown", (event) => this.press(event));
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    this.canvas.addEventListener("pointerup", (event) => this.release(event));
    this.canvas.addEventListener("pointerleave", () => {
      this.tip.hidden = true;
    });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("blur", () => {
      this.cursor = null;
      scope.refresh();
    });
    [this.range, this.number] = panel.querySelectorAll("input");
    for (const input of [this.range, this.number]) {
      input.addEventListener("input", () => {
        if (input.value !== "") scope.cut(clamp(Number(input.value), 0, 0.999));
      });
    }
    this.reset = panel.querySelector(".scope-reset");
    this.reset.addEventListener("click", () => scope.cut(null));
  }

  get box() {
    return { left: 38, right: this.canvas.clientWidth - 8, top: 8, bottom: this.canvas.clientHeight - 34 };
  }

  binOf(value) {
    return Math.min(BINS - 1, Math.floor(value * BINS));
  }

  binAt(event) {
    const { left, right } = this.box;
    return this.binOf(clamp((event.offsetX - left) / (right - left), 0, 1));
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

  release() {
    this.drag = null;
  }

  // Selects what lies in the bars from where the drag began to `bin`.
  brush(bin) {
    const { from, how, before } = this.drag;
    if (this.drag.to === bin) return;
    this.drag.to = bin;
    const members = this.members(Math.min(from, bin), Math.max(from, bin));
    if (how === "replace") return this.scope.selection.take(members);
    this.scope.selection.take(before);
    this.scope.selection.take(members, how);
  }

  members(first, last) {
    const found = [];
    this.scope.frame.scaled.forEach((value, index) => {
      const bin = this.binOf(value);
      if (bin >= first && bin <= last) found.push(index);
    });
    return found;
  }

  key(event) {
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -BINS, End: BINS };
    if (!this.scope.frame) return;
    if (event.key in moves) {
      const [anchor, end] = this.cursor || [0, -1];
      const next = clamp(end + moves[event.key], 0, BINS - 1);
      this.cursor = [event.shiftKey ? anchor : next, next];
    } else if (event.key === "Enter" || event.key === " ") {
      const [anchor, end] = this.cursor || [0, BINS - 1];
      this.scope.selection.take(this.members(Math.min(anchor, end), Math.max(anchor, end)));
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
    this.tip.textContent = `${nats[0]} to ${nats[1]} nats: ${clean} clean, ${members.length - clean} rejected`;
    this.tip.hidden = false;
    const side = Math.min(event.offsetX + 12, this.canvas.clientWidth - this.tip.offsetWidth - 4);
    this.tip.style.transform = `translate(${side}px, ${Math.max(0, event.offsetY - 30)}px)`;
  }

  // --- drawing ---

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
    this.axes(context, frame, theme, { x, y, tallest, height });
    if (verdict.region) this.region(context, verdict, theme, { x, top, bottom });
    this.bars(context, stacks, theme, selection.size > 0, { x, y });
    if (verdict.region) this.curves(context, frame, theme, { x, y });
    if (this.cursor) this.outline(context, theme, { x, top, bottom });
  }

  head(frame, verdict, theme) {
    const mixture = frame?.mixture;
    const entries = [["clean", theme.clean, "box"]];
    if (mixture) entries.push(["rejected", theme.rejected, "box"]);
    if (mixture?.usable) entries.push(["mixture", theme.text, "line"], ["accepted", theme.clean, "faint"]);
    const weights = mixture?.usable && "weights " + mixture.weights.map((weight) => weight.toFixed(2)).join(" / ");
    legend(
      this.panel.querySelector("h4 span"),
      entries,
      !frame ? "" : !mixture ? "no selection" : weights || "all losses equal: all kept",
    );
    const cut = verdict?.threshold ?? 0.5;
    const tried = Boolean(verdict?.hypothetical);
    for (const input of [this.range, this.number]) input.disabled = !frame?.posterior || !mixture?.usable;
    this.range.value = cut;
    if (document.activeElement !== this.number || !tried) this.number.value = Number(cut.toFixed(3));
    this.range.style.setProperty("--own", (mixture?.threshold ?? 0.5) / 0.999);
    this.panel.querySelector("em").hidden = this.reset.hidden = !tried;
    const words = frame
      ? `Histogram of judged losses, ${verdict.kept} clean of ${frame.count}. Arrows move over the bars, Enter selects.`
      : "Nothing recorded yet";
    this.canvas.setAttribute("aria-label", words);
  }

  count(frame, verdict, selection) {
    const stacks = Array.from({ length: BINS }, () => ({ clean: 0, rejected: 0, chosenClean: 0, chosenRejected: 0 }));
    frame.scaled.forEach((value, index) => {
      const stack = stacks[this.binOf(value)];
      const clean = verdict.clean[index];
      stack[clean ? "clean" : "rejected"] += 1;
      if (selection.has(index)) stack[clean ? "chosenClean" : "chosenRejected"] += 1;
    });
    return stacks;
  }

  axes(context, frame, theme, { x, y, tallest, height }) {
    context.strokeStyle = theme.line;
    context.fillStyle = theme.text;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const tick of ticks(1.1 * tallest)) {
      if (tick % 1) continue;
      context.beginPath();
      context.moveTo(x(0), Math.round(y(tick)) + 0.5);
      context.lineTo(x(1), Math.round(y(tick)) + 0.5);
      context.stroke();
      context.fillText(String(tick), x(0) - 5, y(tick));
    }
    context.textBaseline = "alphabetic";
    context.textAlign = "center";
    for (const tick of [0, 0.25, 0.5, 0.75, 1])
      context.fillText(String(tick), x(tick) - (tick === 1 ? 4 : 0), height - 20);
    const span = frame.high.toPrecision(2);
    context.fillText(`judged loss, scaled: 1 is ${span} nats`, (x(0) + x(1)) / 2, height - 4);
    context.save();
    context.translate(11, (height - 34) / 2);
    context.rotate(-Math.PI / 2);
    context.fillText("samples", 0, 0);
    context.restore();
  }

  region(context, verdict, theme, { x, top, bottom }) {
    for (const [from, to] of verdict.region) {
      context.globalAlpha = 0.14;
      context.fillStyle = theme.clean;
      context.fillRect(x(from), top, x(to) - x(from), bottom - top);
      context.globalAlpha = 1;
      context.strokeStyle = theme.clean;
      context.setLineDash([4, 3]);
      for (const edge of [from, to]) {
        if (edge <= 0 || edge >= 1) continue;
        context.beginPath();
        context.moveTo(x(edge), top);
        context.lineTo(x(edge), bottom);
        context.stroke();
      }
      context.setLineDash([]);
    }
  }

  // What is not selected stands back, as soon as anything is.
  bars(context, stacks, theme, brushed, { x, y }) {
    const gap = 0.6;
    stacks.forEach((stack, bin) => {
      const left = x(bin / BINS) + gap;
      const width = x((bin + 1) / BINS) - x(bin / BINS) - 2 * gap;
      const part = (colour, from, to, alpha) => {
        context.globalAlpha = alpha;
        context.fillStyle = colour;
        const height = to > from ? Math.max(2, y(from) - y(to)) : 0; // one of thousands is still seen
        context.fillRect(left, y(from) - height, width, height);
      };
      const { clean, rejected, chosenClean, chosenRejected } = stack;
      part(theme.clean, 0, clean, brushed ? 0.28 : 0.8);
      part(theme.rejected, clean, clean + rejected, brushed ? 0.28 : 0.8);
      if (chosenClean) part(theme.clean, 0, chosenClean, 1);
      if (chosenRejected) part(theme.rejected, clean, clean + chosenRejected, 1);
    });
    context.globalAlpha = 1;
  }

  curves(context, frame, theme, { x, y }) {
    const { weights, means, deviations } = frame.mixture;
    context.strokeStyle = theme.text;
    context.lineWidth = 1.6;
    [0, 1].forEach((k) => {
      context.setLineDash(k ? [2, 3] : []);
      context.beginPath();
      for (let i = 0; i <= 240; i += 1) {
        const value = i / 240;
        const bell = Math.exp(-0.5 * ((value - means[k]) / deviations[k]) ** 2);
        const expected = (weights[k] * frame.count * bell) / BINS / (deviations[k] * Math.sqrt(2 * Math.PI));
        context.lineTo(x(value), y(expected));
      }
      context.stroke();
    });
    context.setLineDash([]);
    context.lineWidth = 1;
  }

  outline(context, theme, { x, top, bottom }) {
    const [first, last] = [...this.cursor].sort((a, b) => a - b);
    context.strokeStyle = theme.student;
    context.lineWidth = 2;
    context.strokeRect(x(first / BINS), top, x((last + 1) / BINS) - x(first / BINS), bottom - top);
    context.lineWidth = 1;
  }
}
