// Verdicts and selections of the microscope.

import assert from "node:assert/strict";
import test from "node:test";

import * as samples from "../../pages/ui/microscope/samples.js";

const FRAME = {
  count: 5,
  label: Int16Array.of(0, 1, 0, 2, 1),
  student_label: Int16Array.of(0, 1, 1, 2, 0),
  confidence: Float32Array.of(0.9, 0.8, 0.7, 0.6, 0.5),
  loss: Float32Array.of(0.5, 0.1, 0.3, 0.2, 0.4),
  posterior: Float32Array.of(0.9, 0.2, 0.7, 0.6, 0.1),
  clean: Uint8Array.of(1, 0, 1, 1, 0),
  mixture: { threshold: 0.5, usable: false },
};

test("the run's own verdict stands until another cut is tried, which is compared in single precision", () => {
  const own = samples.judge(FRAME, null);
  assert.deepEqual([own.kept, own.covered, own.hypothetical, own.threshold], [3, 2, false, 0.5]);
  const tried = samples.judge(FRAME, 0.65);
  assert.deepEqual([[...tried.clean], tried.kept, tried.hypothetical], [[1, 0, 1, 0, 0], 2, true]);
  assert.equal(samples.judge(FRAME, 0.7).clean[2], 0, "0.7 is not above 0.7, as float32");
});

test("what is rejected although the teacher is surer of it than of any clean one is flagged", () => {
  assert.deepEqual([...samples.judge(FRAME, null).flagged], [0, 1, 0, 0, 0]);
  assert.equal(samples.judge(FRAME, 0.99).flags, 0, "nothing is clean, so nothing is compared");
});

test("the verdict is held against the boundary of the real class, and against the student", () => {
  const found = samples.judgedAgainst(FRAME, samples.judge(FRAME, null), Uint8Array.of(1, 1, 0, 1, 0));
  assert.deepEqual(found.counts, [2, 1, 1, 1]);
  assert.deepEqual([found.precision, found.insideRejected, found.recall], [2 / 3, 1 / 2, 2 / 3]);
  assert.deepEqual([found.disagreesClean, found.disagreesRejected], [1 / 3, 1 / 2]);
  const blind = samples.judgedAgainst(FRAME, samples.judge(FRAME, null), null);
  assert.deepEqual([blind.known, blind.precision], [false, null]);
});

test("a gap of shares has an uncertainty, and is compared within each step", () => {
  const near = (one, other) => assert.ok(Math.abs(one - other) < 1e-9, `${one} is not ${other}`);
  const few = samples.gapOf([[100, 100, 4, 5]]); // one of five more outside is no finding
  near(few.gap, 0.2);
  near(few.error, 2 * Math.sqrt((101 * 1) / 102 ** 3 + (5 * 2) / 7 ** 3));
  assert.ok(few.error > few.gap && samples.gapOf([[1000, 1000, 40, 50]]).error < 0.2);
  // Within neither step there is a difference, though the second keeps more, and more of it lies inside.
  const { steps, gap, error } = samples.gapOf([[10, 20, 40, 80], [72, 80, 18, 20], [50, 50, 0, 0]]);
  assert.equal(steps, 2);
  near(gap, 0);
  assert.ok(error > 0.1 && error < 0.2);
  assert.equal(samples.gapOf([[0, 0, 3, 9], [5, 9, 0, 0]]), null);
});

test("a selection is replaced, added to or toggled, and a drag acts on what was there before it", () => {
  let changes = 0;
  const selection = new samples.Selection(() => (changes += 1));
  selection.reset(5);
  selection.take([1, 2]);
  selection.take([3], "add");
  selection.take([2, 4], "toggle");
  assert.deepEqual([selection.indices(), selection.size], [[1, 3, 4], 3]);
  selection.drag([0, 1], "toggle", [1, 3]);
  assert.deepEqual(selection.indices(), [0, 3]);
  selection.clear();
  assert.equal(selection.size, 0);
  const before = changes;
  selection.clear();
  assert.equal(changes, before, "nothing was selected");
});

test("samples are counted by group, clean and rejected, and those selected of each", () => {
  const selection = new samples.Selection(() => {});
  selection.reset(5);
  selection.take([0, 4]);
  const about = { frame: FRAME, verdict: samples.judge(FRAME, null), selection };
  const [zero, one, two] = samples.countedBy((index) => FRAME.label[index], 3, about);
  assert.deepEqual(zero, { clean: 2, rejected: 0, chosenClean: 1, chosenRejected: 0, run: 2 });
  assert.deepEqual(one, { clean: 0, rejected: 2, chosenClean: 0, chosenRejected: 1, run: 0 });
  assert.equal(two.clean, 1);
});

test("the grid's order", () => {
  const all = () => true;
  assert.deepEqual(samples.sorted(FRAME, "loss", all), [1, 3, 2, 4, 0]);
  assert.deepEqual(samples.sorted(FRAME, "confidence", all), [0, 1, 2, 3, 4]);
  assert.deepEqual(samples.sorted(FRAME, "class", all), [2, 0, 1, 4, 3]);
  assert.deepEqual(samples.sorted(FRAME, "posterior", (index) => index !== 2), [0, 3, 1, 4]);
  assert.deepEqual(samples.sorted({ ...FRAME, posterior: undefined }, "posterior", all), [1, 3, 2, 4, 0]);
});

test("a lasso encloses points by the even-odd rule", () => {
  const points = Float32Array.of(1, 1, 5, 5, 9, 1, 20, 20);
  const square = [[0, 0], [10, 0], [10, 10], [0, 10]];
  assert.deepEqual(samples.enclosed(points, square), [0, 1, 2]);
  const twice = [...square, ...square];
  assert.deepEqual(samples.enclosed(points, twice), [], "gone round twice, all is outside");
});
