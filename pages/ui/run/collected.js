// The collected set as the teacher sees it.

import { element, refilled } from "../web/dom.js";
import { grouped, whole } from "../web/numbers.js";
import { bars, level, margins, titled } from "../web/plot.js";
import { placesOf } from "../web/sheet.js";
import { panel } from "./player.js";
import { part } from "./staged.js";

const MANY = 20; // classes from which not each has a name on an axis
const WAYS = {
  random: "at random", "cross-entropy": "those of lowest cross-entropy", confidence: "those confident for their class",
};

export const COLLECTED = part(
  "collected", "Collected set",
  panel("histogram", "Pseudo-label") +
    panel("few", "Collected images", `<div class="dfkd-columns" tabindex="0"></div>`),
);

export function drawCollected(stage) {
  const { collected: facts } = stage.data;
  if (!facts) return;
  stage.once("histogram", [facts], () => histogram(stage, facts));
  stage.once("few", [facts, Boolean(stage.collected?.ready)], () => few(stage, facts));
}

// How the set came about.
export function howCollected({ count, title, collecting, ratio, original, unseen }) {
  const kept = unseen ? `, ${unseen} others kept unseen` : "";
  const share = `ρ = ${Number(ratio.toPrecision(3))} of ${grouped(original)}`;
  return `${grouped(count)} of ${title}, chosen ${WAYS[collecting]}: ${share}${kept}`;
}

// Layout of a chart of the classes. Long names stand slanted, and then there is no room for a title.
export function byClass(stage, left, top) {
  const { classes } = stage.data, many = classes.length > MANY;
  const long = !many && classes.some((name) => name.length > 3);
  const words = "the teacher's class" + (many ? ` (${classes.length})` : "");
  return {
    ...margins(left, 6, top, long ? 62 : 40),
    xaxis: { ...titled(long ? "" : words), type: "category", showticklabels: !many, tickangle: long ? -40 : 0 },
  };
}

// As many of each class as of all others.
export const evenLine = (stage, y) => level(y, { color: stage.colour.text, width: 1.2, dash: "dash" });

function histogram(stage, { histogram: counts, count, mean_confidence: sure }) {
  const names = counts.map((_, index) => stage.named(index));
  stage.legend("histogram", [], "the teacher's class, mean confidence " + whole(sure));
  const trace = {
    ...bars(names, counts, "", stage.colour.real, 1, "%{x}: %{y}<extra></extra>"),
    text: names.length > MANY ? undefined : counts, textposition: "outside", cliponaxis: false,
  };
  const shapes = [evenLine(stage, count / names.length)];
  const words = names.map((name, index) => `${name} ${counts[index]}`).join(", ");
  const layout = { shapes, hovermode: "closest", ...byClass(stage, 36, 16) };
  stage.plot("histogram", [trace], layout, "Collected images by the teacher's class: " + words);
}

function few(stage, { histogram: counts }) {
  const sparse = counts.filter((count) => !count).length;
  const lacking = `${sparse} of ${counts.length} classes without any collected image`;
  stage.legend("few", [], sparse ? lacking : "a few of each class");
  if (!stage.collected?.ready) return;
  const shown = [...counts.keys()].filter((label) => counts[label] || counts.length <= MANY);
  const columns = shown.map((label) => {
    const images = collectedOf(stage, label);
    return element("div.dfkd-column", element("b", stage.named(label)), images.length ? images : element("i", "none"));
  });
  refilled(stage.at("few").querySelector(".dfkd-columns"), ...columns);
}

// A few collected images of a class; none before they are there.
export function collectedOf(stage, label, most = Infinity) {
  const { collected } = stage;
  const places = collected?.ready ? placesOf(collected.label, label).slice(0, most) : [];
  return places.map((index) => collected.tile(index, "collected", "collected, " + stage.says(collected, index)));
}
