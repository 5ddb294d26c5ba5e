// Numbers in words.

import assert from "node:assert/strict";
import test from "node:test";

import * as numbers from "../../pages/ui/web/numbers.js";

const table = (act, pairs) => pairs.forEach(([value, words]) => assert.equal(act(value), words));

test("shares read as percentages", () => {
  table(numbers.percent, [[0.98333, "98.3 %"], [0, "0.0 %"]]);
  table(numbers.whole, [[0.98333, "98 %"], [1, "100 %"]]);
});

test("figures have three digits, and tiny ones a power of ten", () => {
  table(numbers.brief, [[3.41777, "3.42"], [0, "0.00"], [0.000123, "1.2e-4"], [-0.5, "-0.500"]]);
  table(numbers.short, [[0.06034, "0.0603"], [128, "128"], [345.6, "346"], [-2.5, "-2.50"]]);
});

test("differences are percentage points with a sign", () => {
  table(numbers.difference, [[0.169, "+16.9"], [-0.027, "−2.7"], [0, "0.0"]]);
  table(numbers.points, [[0.034, "3.4"], [-0.027, "−2.7"]]);
});

test("times are as exact as they are known", () => {
  table(numbers.duration, [[null, ""], [7.4, "7 s"], [61, "1 min 1 s"], [7260, "2 h 1 min"]]);
  table(numbers.roughly, [[3, "10 s"], [44, "40 s"], [600, "10 min"], [9000, "2.5 h"]]);
});

test("a job says how far it is, and how long it takes if that is known", () => {
  assert.equal(numbers.progress({ message: "Measuring", share: 0.25, left: null }), "Measuring: 25 %");
  assert.equal(numbers.progress({ message: "Measuring", share: 0.25, left: 30 }), "Measuring: 25 %, 30 s left");
});
