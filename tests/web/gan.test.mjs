// What the panels of a GAN say.

import assert from "node:assert/strict";
import test from "node:test";

import { gapSaid } from "../../pages/ui/run/gan.js";

test("a discriminator is said to overfit by what so many unseen images can tell", () => {
  assert.equal(gapSaid(0.12, 256), "overfitting: gap 12.0 points");
  assert.equal(gapSaid(0.12, 16), "gap 12.0 points");
  assert.equal(gapSaid(0.08, 10000), "gap 8.0 points");
  assert.equal(gapSaid(-0.31, 256), "gap −31.0 points");
});
