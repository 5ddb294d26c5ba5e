// Curves {x, y}, their axes, and the mixture of two Gaussians that splits judged losses.

import { clamp } from "./numbers.js";

export const NO_CURVE = { x: [], y: [] };

// A running mean over the `span` steps before.
export function smoothed({ x, y }, span) {
  let sum = 0;
  let from = 0;
  const means = y.map((value, index) => {
    sum += value;
    while (x[from] <= x[index] - Math.max(1, span)) sum -= y[from++];
    return sum / (index - from + 1);
  });
  return { x, y: means };
}

// What of a curve lies up to `step`.
export function upTo({ x, y }, step) {
  const count = x.filter((one) => one <= step).length;
  return { x: x.slice(0, count), y: y.slice(0, count) };
}

// An axis for positive values with ticks that read as numbers: 1, 2, 5, 10 …
export function logarithmic(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (!(low > 0) || !Number.isFinite(high)) return { type: "log" };
  const steps = high / low > 1000 ? [1] : high / low > 30 ? [1, 2, 5] : [1, 2, 3, 5, 7];
  const tickvals = [];
  for (let power = Math.floor(Math.log10(low)) - 1; power <= Math.log10(high) + 1; power++) {
    tickvals.push(...steps.map((step) => Number((step * 10 ** power).toPrecision(2))));
  }
  const ticktext = tickvals.map((tick) => (tick < 1e5 ? String(tick) : tick.toExponential().replace("+", "")));
  return { type: "log", tickvals, ticktext };
}

// Round numbers from 0 to at least `most`, about `count` of them.
export function ticks(most, count = 4) {
  const raw = Math.max(most, 1e-9) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= raw);
  const found = [];
  for (let value = 0; value <= most + 1e-9; value += step) found.push(Number(value.toPrecision(6)));
  return found;
}

// `count` places from `low` to `high`, both included.
export const spread = (low, high, count) =>
  Array.from({ length: count }, (_, index) => low + ((high - low) * index) / (count - 1));

// A Gaussian of height 1.
export const bell = (value, mean, deviation) => Math.exp(-0.5 * ((value - mean) / deviation) ** 2);

// How many are clean and rejected in each of `groups` groups; `of`: the group of a sample.
export function tally(clean, groups, of) {
  const found = { clean: new Array(groups).fill(0), rejected: new Array(groups).fill(0) };
  clean.forEach((flag, index) => (found[flag ? "clean" : "rejected"][of(index)] += 1));
  return found;
}

// The losses that are scaled to 0 and 1: the lowest and the highest of the batch that was judged, where they differ.
export function lossRange(mixture, losses) {
  if (mixture && mixture.high > mixture.low) return [mixture.low, mixture.high];
  return [0, losses.filter(Number.isFinite).reduce((most, value) => Math.max(most, value), 0) || 1];
}

// Why a selection has no mixture of the batch to draw.
export const noMixture = ({ by_class: byClass }) =>
  byClass ? "a mixture for each class" : "all losses equal: all kept";

// Scaled to 0 to 1 between `low` and `high`; the bin of a scaled loss.
export const scaledBetween = (low, high) => (loss) => clamp((loss - low) / (high - low || 1), 0, 1);
export const binOf = (scaled, bins) => Math.min(bins - 1, Math.floor(scaled * bins));

// How many of `count` losses component `k` puts into one of `bins` bins at a scaled loss.
export function expected({ weights, means, deviations }, k, value, count, bins) {
  const density = bell(value, means[k], deviations[k]) / (deviations[k] * Math.sqrt(2 * Math.PI));
  return (weights[k] * count * density) / bins;
}

// Intervals of scaled loss whose posterior exceeds τ; there can be two boundaries (see dfkd_core/selection/region.py).
export function acceptedRegion({ weights, means, deviations }, threshold, points = 2001) {
  const logJoint = (value, k) =>
    Math.log(weights[k] + 1e-300) - Math.log(deviations[k]) - 0.5 * ((value - means[k]) / deviations[k]) ** 2;
  const found = [];
  let begin = null;
  for (let i = 0; i <= points; i++) {
    const value = i / (points - 1);
    const odds = clamp(logJoint(value, 1) - logJoint(value, 0), -700, 700);
    const inside = i < points && 1 / (1 + Math.exp(odds)) > threshold;
    if (inside && begin == null) begin = value;
    if (!inside && begin != null) {
      found.push([begin, (i - 1) / (points - 1)]);
      begin = null;
    }
  }
  return found;
}
