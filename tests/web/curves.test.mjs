// Curves, axes, and the mixture of judged losses.

import assert from "node:assert/strict";
import test from "node:test";

import * as curves from "../../pages/ui/web/curves.js";

const close = (one, other, within = 1e-9) => assert.ok(Math.abs(one - other) <= within, `${one} is not ${other}`);
const TWO_SIDED = { weights: [0.6, 0.4], means: [0.1, 0.4], deviations: [0.03, 0.25] };

test("a running mean is one over the steps before, each step counted by its place", () => {
  const { x, y } = curves.smoothed({ x: [1, 2, 3, 10], y: [1, 3, 5, 9] }, 2);
  assert.deepEqual([x, y], [[1, 2, 3, 10], [1, 2, 4, 9]]);
  assert.deepEqual(curves.smoothed({ x: [1, 2], y: [4, 6] }, 0).y, [4, 6], "a span below a step smooths nothing");
});

test("a curve up to a step ends there", () => {
  const curve = { x: [0, 5, 10], y: [1, 2, 3] };
  assert.deepEqual(curves.upTo(curve, 9), { x: [0, 5], y: [1, 2] });
  assert.deepEqual(curves.upTo(curve, -1), curves.NO_CURVE);
});

test("ticks of a logarithmic axis are round, cover the values, and are fewer the wider the range", () => {
  for (const [values, digits] of [[[2, 9], [1, 2, 3, 5, 7]], [[0.2, 50], [1, 2, 5]], [[1e-3, 1e4], [1]]]) {
    const { type, tickvals, ticktext } = curves.logarithmic(values);
    assert.equal(type, "log");
    assert.ok(tickvals[0] <= values[0] && tickvals.at(-1) >= values[1]);
    const leading = tickvals.map((tick) => Number(tick.toExponential()[0]));
    assert.deepEqual([...new Set(leading)].sort(), digits);
    assert.ok(ticktext.every((text, index) => Number(text) === tickvals[index]));
  }
  assert.deepEqual(curves.logarithmic([0, 3]), { type: "log" }, "zero has no place on it");
});

test("ticks begin at zero and reach as far as they may", () => {
  assert.deepEqual(curves.ticks(10), [0, 5, 10]);
  assert.deepEqual(curves.ticks(0.7), [0, 0.2, 0.4, 0.6]);
});

test("losses are scaled as the mixture saw them, and from 0 where all are alike or nothing was fitted", () => {
  const losses = Float32Array.of(0.5, 2, NaN, 1);
  assert.deepEqual(curves.lossRange({ usable: false, by_class: true, low: 0.25, high: 3 }, losses), [0.25, 3]);
  assert.deepEqual(curves.lossRange({ usable: false, low: 2, high: 2 }, Float32Array.of(2, 2)), [0, 2]);
  assert.notEqual(curves.noMixture({ by_class: true }), curves.noMixture({ by_class: false }));
  assert.deepEqual([curves.lossRange(null, losses), curves.lossRange(null, Float32Array.of(0))], [[0, 2], [0, 1]]);
});

test("components of a mixture sum up to its samples", () => {
  const bins = 40;
  const centres = curves.spread(-2, 3, 5 * bins);
  const sums = [0, 1].map((k) =>
    centres.reduce((sum, value) => sum + curves.expected(TWO_SIDED, k, value, 500, bins), 0),
  );
  const width = (centres[1] - centres[0]) * bins;
  close(sums[0] * width, 300, 0.5);
  close(sums[1] * width, 200, 0.5);
});

test("the accepted region holds what the posterior says, with two boundaries where variances differ", () => {
  const posterior = (value) => {
    const [low, high] = [0, 1].map((k) => curves.expected(TWO_SIDED, k, value, 1, 1));
    return low / (low + high);
  };
  for (const threshold of [0.3, 0.55, 0.9]) {
    const region = curves.acceptedRegion(TWO_SIDED, threshold);
    assert.equal(region.length, 1);
    const [[from, to]] = region;
    assert.ok(from > 0 && to < 1, "the wide component wins below the narrow one, too");
    assert.ok(posterior((from + to) / 2) > threshold);
    assert.ok(posterior(from - 0.001) < threshold && posterior(to + 0.001) < threshold);
  }
  const even = { weights: [0.5, 0.5], means: [0.2, 0.8], deviations: [0.1, 0.1] };
  const [[from, to]] = curves.acceptedRegion(even, 0.5);
  close(from, 0);
  close(to, 0.5, 0.001);
  assert.deepEqual(curves.acceptedRegion(even, 1), []);
  assert.deepEqual(curves.acceptedRegion(even, -1), [[0, 1]]);
});

test("losses are scaled into bins, and what lies outside into the outer ones", () => {
  const scaled = curves.scaledBetween(2, 4);
  assert.deepEqual([1, 2, 3, 4, 9].map(scaled), [0, 0, 0.5, 1, 1]);
  assert.deepEqual([0, 0.5, 0.99, 1].map((value) => curves.binOf(value, 10)), [0, 5, 9, 9]);
  assert.equal(curves.scaledBetween(2, 2)(2), 0, "all alike");
});
