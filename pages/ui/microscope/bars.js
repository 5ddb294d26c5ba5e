// What the histogram and the bars of the classes share: counts upwards, clean below rejected, a hint under the pointer.

import { sharp, stroke } from "../web/canvas.js";
import { ticks } from "../web/curves.js";
import { clamp } from "../web/numbers.js";

export class Bars {
  // `left`: pixels for the axis. `room` above the tallest bar, and up to where numbers stand, as multiples of it.
  constructor(panel, scope, { left, room }) {
    Object.assign(this, { panel, scope, left, room });
    this.canvas = panel.querySelector("canvas");
    this.tip = panel.querySelector(".scope-tip");
    this.listen("pointerleave", () => (this.tip.hidden = true));
  }

  listen(name, act) { this.canvas.addEventListener(name, act); }

  get box() {
    return { left: this.left, right: this.canvas.clientWidth - 8, top: 8, bottom: this.canvas.clientHeight - 34 };
  }

  // Where the pointer is: 0 at the left end of the bars, 1 at the right one.
  shareAt({ offsetX }) { const { left, right } = this.box; return (offsetX - left) / (right - left); }

  // Beside the pointer: who is in a bar.
  hint({ offsetX, offsetY }, name, members) {
    const { tip, canvas } = this, { verdict } = this.scope;
    const clean = members.filter((index) => verdict.clean[index]).length;
    tip.textContent = `${name}: ${clean} clean, ${members.length - clean} rejected`;
    tip.hidden = false;
    const side = clamp(offsetX + 12, 0, canvas.clientWidth - tip.offsetWidth - 4);
    tip.style.transform = `translate(${side}px, ${Math.max(0, offsetY - 30)}px)`;
  }

  // An empty canvas with whole numbers on the left, a line across at each; how to draw on it.
  axes(bars) {
    const { context, height } = sharp(this.canvas), { theme } = this.scope, { left, right, top, bottom } = this.box;
    const tallest = Math.max(1, ...bars.map((one) => one.clean + one.rejected));
    const [x, y] = [
      (share) => left + share * (right - left), (count) => bottom - (count / (this.room[0] * tallest)) * (bottom - top),
    ];
    Object.assign(context, {
      font: `12px ${theme.font}`, fillStyle: theme.text, textAlign: "right", textBaseline: "middle",
    });
    for (const tick of ticks(this.room[1] * tallest).filter(Number.isInteger)) {
      const down = Math.round(y(tick)) + 0.5;
      stroke(context, [[left, down], [right, down]], theme.line);
      context.fillText(String(tick), left - 5, y(tick));
    }
    Object.assign(context, { textAlign: "center", textBaseline: "alphabetic" });
    return { context, theme, height, left, right, top, bottom, x, y };
  }

  // One bar; what is not selected stands back when anything is. `strong`, `pale`: opacities of clean and rejected.
  bar({ context, theme, y }, x, width, group, { strong, pale, least = 0 }) {
    const { clean, rejected, chosenClean, chosenRejected } = group;
    const part = (name, from, to, alpha) => {
      if (to <= from) return;
      const height = Math.max(least, y(from) - y(to));
      Object.assign(context, { globalAlpha: alpha, fillStyle: theme[name] });
      context.fillRect(x, y(from) - height, width, height);
    };
    const [ofClean, ofRejected] = this.scope.selection.size ? pale : strong;
    part("clean", 0, clean, ofClean);
    part("rejected", clean, clean + rejected, ofRejected);
    part("clean", 0, chosenClean, 1);
    part("rejected", clean, clean + chosenRejected, 1);
    context.globalAlpha = 1;
  }
}
