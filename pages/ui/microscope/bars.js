// What the histogram and the bars of the classes share: counts upwards, clean below rejected, a hint under the pointer.

import { stroke } from "../web/canvas.js";
import { ticks } from "../web/curves.js";
import { clamp } from "../web/numbers.js";

// Whole numbers on the left, with a line across at each.
export function countAxis(context, theme, { left, right, y, most }) {
  Object.assign(context, { fillStyle: theme.text, textAlign: "right", textBaseline: "middle" });
  for (const tick of ticks(most).filter(Number.isInteger)) {
    const down = Math.round(y(tick)) + 0.5;
    stroke(context, [[left, down], [right, down]], theme.line);
    context.fillText(String(tick), left - 5, y(tick));
  }
}

// One bar. What is not selected stands back as soon as anything is; `strong`, `pale`: opacities of clean and rejected.
export function bar(context, theme, group, { x, width, y, brushed, strong, pale, least = 0 }) {
  const { clean, rejected, chosenClean, chosenRejected } = group;
  const part = (name, from, to, alpha) => {
    if (to <= from) return;
    const height = Math.max(least, y(from) - y(to));
    context.globalAlpha = alpha;
    context.fillStyle = theme[name];
    context.fillRect(x, y(from) - height, width, height);
  };
  const [ofClean, ofRejected] = brushed ? pale : strong;
  part("clean", 0, clean, ofClean);
  part("rejected", clean, clean + rejected, ofRejected);
  part("clean", 0, chosenClean, 1);
  part("rejected", clean, clean + chosenRejected, 1);
  context.globalAlpha = 1;
}

// Words beside the pointer.
export function hint(tip, canvas, event, words) {
  tip.textContent = words;
  tip.hidden = false;
  const side = clamp(event.offsetX + 12, 0, canvas.clientWidth - tip.offsetWidth - 4);
  tip.style.transform = `translate(${side}px, ${Math.max(0, event.offsetY - 30)}px)`;
}
