// What the browser fetches of a run's curves, and how it puts them together.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Feed, joined, missing } from "../../pages/ui/run/feed.js";

test("what is missing leads from what is there to the newest", () => {
  assert.deepEqual(missing([10, 12, 15], null), ["10", "10-12", "12-15"]);
  assert.deepEqual(missing([10, 12, 15], 12), ["12-15"]);
  assert.deepEqual(missing([10, 12, 15], 15), []);
  assert.deepEqual(missing([10, 12, 15], 7), ["10", "10-12", "12-15"], "too far behind");
  assert.deepEqual(missing([20], 15), ["20"]);
  assert.deepEqual(missing([10, 12], 15), [], "news that were overtaken");
  assert.deepEqual(missing([20, 21], 15, true), ["20", "20-21"]);
  assert.deepEqual(missing([10, 12], 10, true), ["10-12"], "a whole that is older would bring nothing");
});

test("points are added to their curves", () => {
  const curves = joined({ loss: { x: [1], y: [5] } }, { loss: { x: [2], y: [4] }, kept: { x: [2], y: [1] } });
  assert.deepEqual(curves, { loss: { x: [1, 2], y: [5, 4] }, kept: { x: [2], y: [1] } });
});

test("of sheets that came long ago the answers are not kept", async () => {
  globalThis.fetch = async () => ({ ok: true, json: async () => ({}) });
  const feed = new Feed();
  for (let step = 0; step < 200; step++) assert.deepEqual(await feed.frame("x", step, `${step}.json`), [step, {}]);
  assert.ok(feed.sheets.size < 20);
});

test("news that come at once are followed one after the other, each file once", async () => {
  const files = {
    "1.json": { loss: { x: [1], y: [9] } }, "1-2.json": { loss: { x: [2], y: [8] } },
    "2-3.json": { loss: { x: [3], y: [7] } }, "a.json": { count: 4 },
  };
  const asked = [];
  globalThis.fetch = async (address) => {
    const name = address.split("/").at(-1);
    asked.push(name);
    return { ok: name in files, json: async () => files[name] };
  };
  const feed = new Feed(), frames = { 5: "a.json", 6: null };
  const news = (...versions) => feed.filled({ feed: { at: "x" }, versions, frames });
  const [, last] = await Promise.all([news(1, 2), news(1, 2, 3)]);
  assert.deepEqual(last.curves, { loss: { x: [1, 2, 3], y: [9, 8, 7] } });
  assert.deepEqual(last.frames, { 5: { count: 4 }, 6: null });
  assert.deepEqual(asked.sort(), ["1-2.json", "1.json", "2-3.json", "a.json"]);
  delete files["a.json"];
  const lost = await feed.filled({ feed: { at: "x" }, versions: [1, 2, 3, 4], frames: { 7: "b.json" } });
  assert.deepEqual([lost.curves.loss.x, lost.frames], [[1, 2, 3], {}], "what cannot be fetched stays as it was");
});
