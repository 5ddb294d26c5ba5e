// What a box of slow motion draws follows from what its phase carries: latents, images, distributions, judged losses,
// numbers. `stage` knows colours and names of classes.

import { stroke } from "../web/canvas.js";
import { binOf, expected, scaledBetween, spread, tally } from "../web/curves.js";
import { element } from "../web/dom.js";
import { clamp, short, whole } from "../web/numbers.js";
import { NUMBERS, title } from "../web/words.js";

const DRAWN = 12, PAIRS = 3;
const FILMED = { images: 4, frames: 8 };
const BINS = 24;
const AS_THEY_ARE = ["threshold", "levels", "length", "collected"];
const SHARES = ["confidence_real", "confidence_fake"];

// The elements of one phase.
export function contentOf(phase, stage) {
  const { arrays, sheet } = phase;
  const pairs = arrays.teacher_probabilities && arrays.student_probabilities, found = [];
  if (arrays.latents) found.push(heatmap(arrays.latents, stage.colour));
  if (arrays.loss && arrays.loss.length > (sheet?.count ?? 0)) found.push(histogram(phase, stage.colour));
  else if (pairs) found.push(...distributions(phase, stage.colour));
  if (arrays.shown) found.push(film(phase));
  else if (sheet && !pairs) found.push(thumbnails(phase, stage));
  return [...found, numbers(phase.values, stage)];
}

// A canvas with what it shows in words, and where it is drawn.
function drawing(width, height, className, words) {
  const canvas = element("canvas", { width, height, className, role: "img", "aria-label": words });
  return [canvas, canvas.getContext("2d")];
}

function heatmap(rows, colour) {
  const width = Math.min(48, rows[0].length);
  const words = `${rows.length} latents, one a row; the first ${width} numbers of each`;
  const [canvas, context] = drawing(width, rows.length, "dfkd-heat", words);
  rows.forEach((row, y) =>
    row.slice(0, width).forEach((value, x) => {
      const strength = clamp(value / 2.5, -1, 1);
      context.globalAlpha = Math.abs(strength);
      context.fillStyle = strength < 0 ? colour.student : colour.rejected;
      context.fillRect(x, y, 1, 1);
    }),
  );
  return canvas;
}

function thumbnails({ sheet, arrays }, stage) {
  const tiles = Array.from({ length: Math.min(DRAWN, sheet.count) }, (_, index) => {
    const className = arrays.clean && (arrays.clean[index] ? "clean" : "rejected");
    const label = (arrays.teacher_label ?? arrays.wanted)?.[index];
    const sure = arrays.teacher_probabilities?.[index][label];
    const percent = sure == null ? "" : ` ${Math.round(100 * sure)}%`;
    const caption = label == null ? null : element("figcaption", element("b", stage.named(label)), percent);
    const title = caption && arrays.loss && `loss ${arrays.loss[index].toFixed(3)} nats`;
    return element("figure", { className, title }, sheet.tile(index), caption);
  });
  return element("div.dfkd-thumbs", tiles);
}

// A synthesis: an image a line, its course from left to right.
function film({ sheet, arrays }) {
  const [frames, shown] = arrays.shown, columns = Math.min(FILMED.frames, frames);
  const chosen = columns > 1 ? spread(0, frames - 1, columns).map(Math.round) : [0];
  const tile = (frame, line) =>
    element("figure", { title: "guidance " + short(arrays.loss[frame]) }, sheet.tile(frame * shown + line));
  const lines = [...Array(Math.min(FILMED.images, shown)).keys()];
  const tiles = lines.flatMap((line) => chosen.map((frame) => tile(frame, line)));
  return element("div.dfkd-thumbs.film", { style: { "--columns": columns } }, tiles);
}

// Teacher upwards, student downwards, for the first few images.
function distributions({ sheet, arrays }, colour) {
  const names = [element("span.teacher", "teacher ▲"), element("span.student", "student ▼"), "probabilities"];
  const rows = Array.from({ length: Math.min(PAIRS, sheet.count) }, (_, index) => {
    const bars = opposed(arrays.teacher_probabilities[index], arrays.student_probabilities[index], colour);
    return element("div.dfkd-pair", sheet.tile(index), bars);
  });
  return [element("div.dfkd-slow-legend", names), ...rows];
}

function opposed(teacher, student, colour) {
  const words = "Class distributions of teacher (up) and student (down)";
  const [canvas, context] = drawing(220, 68, "", words), step = canvas.width / teacher.length;
  for (const [values, paint, up] of [[teacher, colour.teacher, true], [student, colour.student, false]]) {
    context.fillStyle = paint;
    values.forEach((value, index) => {
      const height = Math.max(1, value * 32);
      context.fillRect(index * step + 1, up ? 34 - height : 34, Math.max(1, step - 2), height);
    });
  }
  return canvas;
}

// The judged losses of the batch, with the region that the mixture accepts and its two components.
function histogram({ arrays, values }, colour) {
  const words = "Judged losses of the batch, clean and rejected" + (arrays.weights ? ", with the two Gaussians" : "");
  const [width, height] = [240, 110];
  const [canvas, context] = drawing(width, height, "dfkd-split", words);
  const scaled = scaledBetween(values.low ?? Math.min(...arrays.loss), values.high ?? Math.max(...arrays.loss));
  const counts = tally(arrays.clean, BINS, (index) => binOf(scaled(arrays.loss[index]), BINS));
  const tallest = Math.max(...counts.clean.map((count, bin) => count + counts.rejected[bin]));
  const scale = (height - 4) / tallest, step = width / BINS;
  context.globalAlpha = 0.16;
  context.fillStyle = colour.clean;
  (arrays.region ?? []).forEach(([from, to]) => context.fillRect(from * width, 0, (to - from) * width, height));
  context.globalAlpha = 1;
  for (const name of ["clean", "rejected"]) { // those rejected stand on top of the clean ones
    context.fillStyle = colour[name];
    counts[name].forEach((count, bin) => {
      const below = name === "clean" ? 0 : counts.clean[bin];
      context.fillRect(bin * step + 0.5, height - (below + count) * scale, step - 1, count * scale);
    });
  }
  (arrays.weights ?? []).forEach((_, k) => {
    const tall = (x) => Math.min(height, expected(arrays, k, x / width, arrays.loss.length, BINS) * scale);
    const points = spread(0, width, width / 2 + 1).map((x) => [x, height - tall(x)]);
    stroke(context, points, colour.text, 1.6, k ? [3, 3] : []);
  });
  return canvas;
}

function numbers(values, stage) {
  const lines = [];
  const line = (name, text, about = {}) => lines.push(element("dt", name), element("dd", about, text));
  if (values.kept != null) line("kept", `${Math.round(values.kept * values.batch)} of ${values.batch}`);
  for (const name of NUMBERS) {
    if (values[name] == null) continue;
    const form = AS_THEY_ARE.includes(name) ? String : SHARES.includes(name) ? whole : short;
    line(title(name), form(values[name]));
  }
  const norms = Object.entries(values).filter(([name]) => name.startsWith("gradient/"));
  const weighed = norms.map(([name, norm]) => [name.slice("gradient/".length), norm]);
  const total = weighed.reduce((sum, [, norm]) => sum + norm, 0);
  const known = [...NUMBERS, ...weighed.map(([term]) => term)];
  for (const term of stage.data.terms.filter((name) => values[name] != null && !known.includes(name)))
    line(stage.title(term), short(values[term]));
  for (const [term, norm] of weighed) {
    const share = Math.round(total ? (100 * norm) / total : 0) + "%";
    line(stage.title(term), short(values[term]));
    line(title("gradient"), short(norm), { className: "bar", style: { "--share": share } });
  }
  return element("dl", lines);
}
