// A generative teacher and its student beside each other: images, figures, latents, loss terms.

import { bell, logarithmic, spread } from "../web/curves.js";
import { element, refilled } from "../web/dom.js";
import { brief } from "../web/numbers.js";
import { axisName, FIGURE, line, margins, titled, words } from "../web/plot.js";
import { placesOf } from "../web/sheet.js";
import { BETWEEN, FIGURES, PANELS } from "../web/words.js";
import { panel } from "./player.js";
import { part } from "./staged.js";

const WIDE_RANGE = 8; // from which ratio on an axis is logarithmic
const DEEP = "₀₁₂₃₄₅₆₇₈₉";
const ROWS = `<div class="dfkd-rows" tabindex="0"></div>`;

export const PAIR = part(
  "student", "Teacher and student",
  panel("same", "Samples from the same noise", `<div class="dfkd-beside"></div>`) +
    panel("quality", "Student against teacher") +
    panel("again", "Reconstructions", ROWS) +
    panel("between", "Interpolations", ROWS) +
    panel("levels", "Posterior and prior") +
    panel("terms", "Losses by term"),
);

export function drawPair(stage) {
  const { noImages } = stage, probes = stage.kind("probes");
  const pairs = probes ?? stage.kind("samples");
  const images = (name, sheet, act) =>
    stage.once(name, [sheet?.step, noImages], () => (sheet ? act(stage, sheet) : stage.nothing(name, noImages)));
  images("same", pairs, same);
  images("again", probes, again);
  images("between", probes, between);
  stage.once("quality", [...stage.seen(...Object.keys(FIGURES)), stage.figure], () => quality(stage));
  stage.once("terms", stage.seen("student_loss"), () => losses(stage));
  const levels = levelsShown(stage);
  stage.once("levels", [levels?.step], () => gaussians(stage, levels));
}

// The tiles of one panel of a sheet.
export const tilesOf = (sheet, panel, kind, words) =>
  placesOf(sheet.panel, panel).map((index, order) => {
    const tile = sheet.tile(index, kind, `${words} ${order + 1}`);
    tile.dataset.order = order;
    return tile;
  });

function same(stage, sheet) {
  const entries = ["teacher", "student"].map((who) => [who, stage.colour[who], "box"]);
  const fixed = sheet === stage.newest.probes;
  stage.legend("same", entries, (fixed ? "step " : "of the last batch, step ") + sheet.step);
  const block = (who) => element("div.dfkd-block." + who, tilesOf(sheet, PANELS[who], who, `${who}'s sample`));
  const box = stage.at("beside");
  refilled(box, block("teacher"), block("student"));
  // Pointing at an image marks what the other network made of the same noise.
  const tiles = [...box.querySelectorAll(".dfkd-image")];
  const point = (order) => tiles.forEach((tile) => tile.classList.toggle("pointed", tile.dataset.order === order));
  box.onpointerover = ({ target }) => point(target.dataset.order ?? null);
  box.onpointerleave = () => point(null);
}

function row(name, tiles) {
  const images = element("div.dfkd-line", { style: { "--many": tiles.length } }, tiles);
  return element("div.dfkd-named." + name, element("b", name), images);
}

const rowsOf = (stage, name) => stage.at(name).querySelector(".dfkd-rows");

function again(stage, sheet) {
  const whose = stage.data.own_encoder ? "" : "; the student's from its teacher's latents";
  stage.legend("again", [], `step ${sheet.step}${whose}`);
  const panels = { real: PANELS.real, teacher: PANELS.teacherAgain, student: PANELS.studentAgain };
  const rows = Object.entries(panels).map(([name, of]) => row(name, tilesOf(sheet, of, name, name + " image")));
  rowsOf(stage, "again").replaceChildren(...rows);
}

function between(stage, sheet) {
  stage.legend("between", [], "from one latent to another, step " + sheet.step);
  const panels = Object.entries({ teacher: PANELS.teacherBetween, student: PANELS.studentBetween });
  const tiles = panels.map(([name, of]) => tilesOf(sheet, of, name, `${name}'s image between two latents`));
  const starts = [...tiles[0].keys()].filter((place) => place % BETWEEN === 0);
  const path = (from) => panels.map(([name], place) => row(name, tiles[place].slice(from, from + BETWEEN)));
  rowsOf(stage, "between").replaceChildren(...starts.map((from) => element("div.dfkd-path", path(from))));
}

function quality(stage) {
  const { data, colour } = stage;
  const known = Object.keys(FIGURES).filter((name) => data.curves[name]);
  const name = known.includes(stage.figure) ? stage.figure : data.score;
  const choose = (figure) => () => { stage.figure = figure; stage.draw(); };
  const entries = [["student", colour.student, "thick"], ["teacher", colour.teacher, "dash"]];
  if (!known.length) stage.noPlot("quality", "Nothing evaluated yet");
  stage.chips("quality", entries, known.map((one) => [FIGURES[one], one === name, choose(one)]));
  if (!known.length) return;
  const curve = stage.still(stage.curve(name)), teacher = data.teacher_figures[name];
  const higher = name === "elbo";
  const better = higher ? "higher is better" : "lower is better";
  const all = teacher == null ? curve.y : [...curve.y, teacher];
  const wide = Math.min(...all) > 0 && Math.max(...all) / Math.min(...all) > WIDE_RANGE;
  const scale = wide ? logarithmic(all) : { rangemode: higher ? "normal" : "tozero", nticks: 6 };
  const yaxis = { ...scale, ...titled(`${FIGURES[name]}, ${better}`, 4) };
  const more = { annotations: stage.changes(), uirevision: stage.run + name, ...margins(62, 8, 6, 40) };
  const [now, level] = [curve.y.at(-1), teacher].map((value) => (value == null ? "unknown" : brief(value)));
  const about = `Student's ${FIGURES[name]}, ${better}, now ${now}, teacher ${level},`;
  stage.course("quality", stage.against(curve, teacher, FIGURE), yaxis, about, more);
}

function losses(stage) {
  const { data, colour } = stage;
  const names = data.terms.filter((name) => data.moved[name] !== "images");
  const lines = names.map((name, index) => {
    const [color, width] = name === "student_loss" ? [colour.text, 2.4] : [colour.palette[(index + 1) % 8], 1.6];
    return line(stage.curve(name), stage.title(name), color, { width }, FIGURE);
  });
  const values = lines.flatMap(({ y }) => y);
  const log = values.every((value) => value > 0);
  stage.legend("terms", lines.map((one) => [one.name, one.line.color]), log ? "log" : "");
  const about = "Loss terms " + lines.map(({ name }) => name).join(", ");
  stage.course("terms", lines, log ? logarithmic(values) : { nticks: 5 }, about);
}

const nats = (value) => (value < 0.01 ? "< 0.01" : value.toPrecision(3)) + " nats";
const symbol = (number) => "z" + [...String(number)].map((digit) => DEEP[digit]).join("");

// Of the newest evaluation up to the step shown.
function levelsShown(stage) {
  const { data, view, frames } = stage;
  stage.levels = (view == null ? data.levels : frames.get(stage.step)?.levels) ?? stage.levels ?? data.levels;
  return stage.levels;
}

// One typical latent of each level: a Gaussian around the root mean square of the means, as wide as the mean std.
function gaussians(stage, found) {
  if (!found?.kl) return stage.noPlot("levels", found ? "Not finite" : "Nothing evaluated yet");
  const { teacher, student, text } = stage.colour;
  const filled = { fill: "tozeroy", fillcolor: teacher + "44", line: { width: 0 } };
  const kinds = [
    ["posterior", ["teacher's posterior", teacher, "faint"], filled],
    ["prior", ["teacher's prior", teacher, "dash"], { line: { color: teacher, width: 2, dash: "dash" } }],
    ["student_prior", ["student's prior", student, "thick"], { line: { color: student, width: 3 } }],
  ].filter(([kind]) => found[kind + "_mean"] && found[kind + "_std"]); // what has diverged is not kept
  stage.legend("levels", kinds.map(([, entry]) => entry), "step " + found.step);
  const count = found.kl.length, gap = 0.03, width = (1 - gap * (count - 1)) / count;
  const layout = { hovermode: "closest", annotations: [], ...margins(8, 8, 42, 40) };
  const traces = found.kl.flatMap((kl, level) => {
    const from = level * (width + gap);
    const [x, y] = ["x", "y"].map((name) => axisName(name, level));
    const moments = kinds.map(([kind]) => [found[kind + "_mean"][level], found[kind + "_std"][level]]);
    const ends = moments.flatMap(([mean, std]) => [mean - 3 * std, mean + 3 * std]);
    const range = [Math.min(...ends), Math.max(...ends)], domain = [from, from + width];
    layout[axisName("xaxis", level)] = { ...titled("latent"), domain, anchor: y, range, nticks: 5 };
    layout[axisName("yaxis", level)] = { anchor: x, range: [0, 1.08], visible: false };
    const heading = `<b>${symbol(count - level)}${level ? "" : ", the top"}</b><br>KL ${nats(kl)}`;
    const place = { yshift: 38, xanchor: "center", yanchor: "top", font: { color: text, size: 13 } };
    layout.annotations.push(words(heading, from + width / 2, 1, place));
    const axes = { xaxis: x, yaxis: y };
    return kinds.map(([, [name], style], kind) => gaussian(range, moments[kind], { name, ...axes, ...style }));
  });
  const spoken = found.kl.map((kl, level) => `level ${count - level} KL ${brief(kl)} nats`).join(", ");
  stage.plot("levels", traces, layout, "Typical posterior and prior of a latent, by level: " + spoken);
}

function gaussian([low, high], [mean, std], trace) {
  const near = [-2, -1, -0.5, 0, 0.5, 1, 2].map((one) => mean + one * std); // a narrow one is not missed
  const x = [...spread(low, high, 241), ...near].sort((a, b) => a - b);
  const hovertemplate = `${trace.name}: mean ${brief(mean)}, std ${brief(std)}<extra></extra>`;
  return { x, y: x.map((value) => bell(value, mean, std)), mode: "lines", hovertemplate, ...trace };
}
