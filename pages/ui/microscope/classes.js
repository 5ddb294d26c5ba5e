// What the student learns from, class by class. A click on a bar selects the class.

class ClassBars {
  constructor(panel, scope) {
    this.scope = scope;
    this.note = panel.querySelector("h4 span");
    this.canvas = panel.querySelector("canvas");
    this.tip = panel.querySelector(".scope-tip");
    this.canvas.addEventListener("click", (event) => this.click(event));
    this.canvas.addEventListener("pointermove", (event) => this.hint(event));
    this.canvas.addEventListener("pointerleave", () => {
      this.tip.hidden = true;
    });
  }

  get box() {
    return { left: 32, right: this.canvas.clientWidth - 6, top: 8, bottom: this.canvas.clientHeight - 34 };
  }

  classAt(event) {
    const { left, right } = this.box;
    const count = this.scope.data.classes.length;
    const index = Math.floor(((event.offsetX - left) / (right - left)) * count);
    return index >= 0 && index < count ? index : null;
  }

  members(label) {
    const found = [];
    this.scope.frame.label.forEach((value, index) => {
      if (value === label) found.push(index);
    });
    return found;
  }

  click(event) {
    const label = this.scope.frame && this.classAt(event);
    if (label != null) this.scope.selection.take(this.members(label), howTo(event));
  }

  hint(event) {
    const label = this.scope.frame ? this.classAt(event) : null;
    this.tip.hidden = label == null;
    if (label == null) return;
    const { verdict, data } = this.scope;
    const members = this.members(label);
    const clean = members.filter((index) => verdict.clean[index]).length;
    this.tip.textContent = `${data.classes[label]}: ${clean} clean, ${members.length - clean} rejected`;
    const side = clamp(event.offsetX + 12, 0, this.canvas.clientWidth - this.tip.offsetWidth - 4);
    this.tip.style.transform = `translate(${side}px, ${Math.max(0, event.offsetY - 30)}px)`;
  }

  draw() {
    const { frame, verdict, selection, theme, data } = this.scope;
    const { context, height } = sharp(this.canvas);
    this.head(frame, verdict, data);
    if (!frame) return;
    const names = data.classes;
    const bars = this.count(names.length);
    const tallest = Math.max(1, ...bars.map((bar) => bar.clean + bar.rejected));
    const { left, right, top, bottom } = this.box;
    const each = (right - left) / names.length;
    const y = (count) => bottom - (count / (1.1 * tallest)) * (bottom - top);
    context.font = `12px ${theme.font}`;
    this.axes(context, theme, { left, right, y, tallest });
    bars.forEach((bar, label) => {
      const x = left + label * each;
      const gap = each > 6 ? Math.min(4, each * 0.12) : 0.3;
      this.bar(context, bar, theme, selection.size > 0, { x: x + gap, width: each - 2 * gap, y });
      if (verdict.hypothetical) this.mark(context, theme, x + gap, each - 2 * gap, y(bar.run));
    });
    this.labels(context, theme, names, { left, each, height });
  }

  head(frame, verdict, data) {
    const learned = verdict?.hypothetical ? "Would have learned from" : "The student learns from";
    this.note.previousElementSibling.textContent = frame?.source === "probes" ? "Kept by class" : learned;
    const sure = verdict?.confidence == null ? "" : ` · ${whole(verdict.confidence)} sure`;
    this.note.textContent = frame
      ? `${verdict.kept} samples · ${verdict.covered} / ${data.classes.length} classes${sure}`
      : "";
    this.note.title = "Kept samples, classes that have any, and the teacher's mean confidence in those kept";
    this.canvas.setAttribute(
      "aria-label",
      "Clean and rejected samples by the teacher's class. " + this.note.textContent,
    );
  }

  count(classes) {
    const { frame, verdict, selection } = this.scope;
    const bars = Array.from({ length: classes }, () => ({
      clean: 0,
      rejected: 0,
      chosenClean: 0,
      chosenRejected: 0,
      run: 0,
    }));
    frame.label.forEach((label, index) => {
      const bar = bars[label];
      const clean = verdict.clean[index];
      if (!bar) return;
      bar[clean ? "clean" : "rejected"] += 1;
      if (selection.has(index)) bar[clean ? "chosenClean" : "chosenRejected"] += 1;
      bar.run += frame.clean[index];
    });
    return bars;
  }

  axes(context, theme, { left, right, y, tallest }) {
    context.strokeStyle = theme.line;
    context.fillStyle = theme.text;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const tick of ticks(tallest)) {
      if (tick % 1) continue;
      context.beginPath();
      context.moveTo(left, Math.round(y(tick)) + 0.5);
      context.lineTo(right, Math.round(y(tick)) + 0.5);
      context.stroke();
      context.fillText(String(tick), left - 5, y(tick));
    }
  }

  bar(context, bar, theme, brushed, { x, width, y }) {
    const part = (colour, from, to, alpha) => {
      context.globalAlpha = alpha;
      context.fillStyle = colour;
      context.fillRect(x, y(to), width, y(from) - y(to));
    };
    part(theme.clean, 0, bar.clean, brushed ? 0.28 : 0.85);
    part(theme.rejected, bar.clean, bar.clean + bar.rejected, brushed ? 0.16 : 0.35);
    if (bar.chosenClean) part(theme.clean, 0, bar.chosenClean, 1);
    if (bar.chosenRejected) part(theme.rejected, bar.clean, bar.clean + bar.chosenRejected, 1);
    context.globalAlpha = 1;
  }

  // Where the bar ended in the run, while another τ is tried.
  mark(context, theme, x, width, y) {
    context.strokeStyle = theme.text;
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + width, y);
    context.stroke();
    context.lineWidth = 1;
  }

  // Names where they fit, else every so many; all of them appear under the pointer.
  labels(context, theme, names, { left, each, height }) {
    context.fillStyle = theme.text;
    context.textBaseline = "alphabetic";
    context.textAlign = "center";
    const widest = Math.max(...names.map((name) => context.measureText(name).width));
    if (widest + 4 <= each) {
      names.forEach((name, label) => context.fillText(name, left + (label + 0.5) * each, height - 20));
      context.fillText("the teacher's class", left + (each * names.length) / 2, height - 4);
      return;
    }
    const every = Math.ceil(34 / each);
    names.forEach((_, label) => {
      if (label % every === 0) context.fillText(String(label), left + (label + 0.5) * each, height - 20);
    });
    context.fillText("the teacher's class, by number", left + (each * names.length) / 2, height - 4);
  }
}
