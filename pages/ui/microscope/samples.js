// What the views look at: the recorded samples of one step, a verdict on them, and the one selection.

import { acceptedRegion, lossRange, scaledBetween } from "../web/curves.js";
import { placesOf, Sheet } from "../web/sheet.js";

// The samples of one step; of real images, only their labels count.
export class Frame extends Sheet {
  constructor(item, source, step) {
    super(item);
    Object.assign(this, { source, step });
    this.loss ??= new Float32Array(this.count);
    this.scaled = this.scale();
  }

  // The losses as the mixture saw them.
  scale() {
    [this.low, this.high] = lossRange(this.mixture, this.loss);
    return Float32Array.from(this.loss, scaledBetween(this.low, this.high));
  }

  // Draws sample `index` into a square of the given side.
  square(context, index, x, y, side) { this.paint(context, index, x, y, side, side); }
}

// Who is clean: as the run had it (`threshold` null), or as another τ would have it. Compared in single precision,
// which is how posteriors are kept.
export function judge(frame, threshold) {
  const hypothetical = threshold != null && Boolean(frame.posterior);
  const cut = Math.fround(threshold ?? 0);
  const clean = hypothetical ? Uint8Array.from(frame.posterior, (value) => value > cut) : frame.clean;
  const members = placesOf(clean, 1), kept = members.length;
  const surest = members.reduce((least, index) => Math.min(least, frame.loss[index]), kept ? Infinity : -Infinity);
  const flagged = Uint8Array.from(clean, (flag, i) => !flag && frame.loss[i] < surest);
  const mixture = frame.mixture?.usable ? frame.mixture : null;
  const region = !mixture ? null : hypothetical ? acceptedRegion(mixture, threshold) : mixture.region;
  return {
    clean, flagged, flags: placesOf(flagged, 1).length, kept, region, hypothetical,
    confidence: kept ? members.reduce((sum, index) => sum + frame.confidence[index], 0) / kept : null,
    covered: new Set(members.map((index) => frame.label[index])).size,
    threshold: hypothetical ? threshold : (frame.mixture?.threshold ?? null),
  };
}

// Counts clean inside, clean outside, rejected inside, rejected outside of the real class's boundary, and the shares
// that follow from them; of the student, on which share it disagrees with the teacher.
export function judgedAgainst(frame, verdict, inside) {
  const counts = [0, 0, 0, 0], disagrees = [0, 0], members = [0, 0];
  verdict.clean.forEach((clean, index) => {
    const side = clean ? 0 : 1;
    members[side] += 1;
    disagrees[side] += frame.student_label[index] !== frame.label[index];
    if (inside) counts[2 * side + (inside[index] ? 0 : 1)] += 1;
  });
  const share = (part, of) => (of ? part / of : null);
  return {
    known: Boolean(inside), counts, precision: inside ? share(counts[0], members[0]) : null,
    insideRejected: inside ? share(counts[2], members[1]) : null,
    recall: inside ? share(counts[0], counts[0] + counts[2]) : null, disagreesClean: share(disagrees[0], members[0]),
    disagreesRejected: share(disagrees[1], members[1]),
  };
}

// By how much more often clean samples lie inside than rejected ones, and twice the standard error of that, over
// `tables` of [clean inside, clean, rejected inside, rejected]; null where none has both. They are compared within each
// table, or what changes from step to step would pass for the verdict's, and weighed by how much it tells (Mantel &
// Haenszel 1959); for the error two samples more are on either side, one of them inside, so that few are never certain
// (Agresti & Caffo 2000).
export function gapOf(tables) {
  const told = tables.filter(([, clean, , rejected]) => clean && rejected);
  const weights = told.map(([, clean, , rejected]) => (clean * rejected) / (clean + rejected));
  const variance = (inside, of) => ((inside + 1) * (of - inside + 1)) / (of + 2) ** 3;
  let [total, gap, error] = [0, 0, 0];
  told.forEach(([inside, clean, other, rejected], nth) => {
    total += weights[nth];
    gap += weights[nth] * (inside / clean - other / rejected);
    error += weights[nth] ** 2 * (variance(inside, clean) + variance(other, rejected));
  });
  return total ? { steps: told.length, gap: gap / total, error: (2 * Math.sqrt(error)) / total } : null;
}

// How many are clean and rejected in each of `groups` groups, and of them selected; `of` is the group of a sample.
export function countedBy(of, groups, { frame, verdict, selection }) {
  const empty = { clean: 0, rejected: 0, chosenClean: 0, chosenRejected: 0, run: 0 };
  const found = Array.from({ length: groups }, () => ({ ...empty }));
  verdict.clean.forEach((clean, index) => {
    const group = found[of(index)];
    if (!group) return;
    group[clean ? "clean" : "rejected"] += 1;
    if (selection.has(index)) group[clean ? "chosenClean" : "chosenRejected"] += 1;
    group.run += frame.clean[index];
  });
  return found;
}

// Which samples are selected, the same in every view.
export class Selection {
  constructor(changed) { this.changed = changed; this.reset(0); }
  reset(count) { this.mask = new Uint8Array(count); this.size = 0; }
  has(index) { return this.mask[index] === 1; }
  indices() { return placesOf(this.mask, 1); }

  // `how`: "replace", "add" (shift) or "toggle" (ctrl).
  take(indices, how = "replace") {
    if (how === "replace") this.mask.fill(0);
    for (const index of indices) this.mask[index] = how === "toggle" ? 1 - this.mask[index] : 1;
    this.size = this.indices().length;
    this.changed();
  }

  // What a drag goes over, on top of what was selected `before` it.
  drag(indices, how, before) { if (how !== "replace") this.take(before); this.take(indices, how); }
  clear() { if (this.size) this.take([]); }
}

export const howTo = (event) => (event.ctrlKey || event.metaKey ? "toggle" : event.shiftKey ? "add" : "replace");

// Samples in the order of the grid.
export function sorted(frame, by, keep) {
  const rising = (column) => (a, b) => (column ? column[a] - column[b] : 0);
  const loss = rising(frame.loss), [sure, posterior] = [rising(frame.confidence), rising(frame.posterior)];
  const kind = rising(frame.label);
  const compare = {
    loss, confidence: (a, b) => sure(b, a), class: (a, b) => kind(a, b) || loss(a, b),
    posterior: (a, b) => posterior(b, a) || loss(a, b), latent: () => 0,
  }[by];
  return [...Array(frame.count).keys()].filter(keep).sort((a, b) => compare(a, b) || a - b);
}

// Indices of the points, x0 y0 x1 y1 …, within a closed path, by the even-odd rule.
export function enclosed(points, path) {
  const found = [];
  const [xs, ys] = [0, 1].map((axis) => path.map((corner) => corner[axis]));
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  for (let i = 0; i < points.length; i += 2) {
    const [x, y] = [points[i], points[i + 1]];
    if (x < left || x > right || y < top || y > bottom) continue;
    let inside = false;
    for (let a = 0, b = path.length - 1; a < path.length; b = a, a += 1) {
      const crosses = ys[a] > y !== ys[b] > y;
      if (crosses && x < ((xs[b] - xs[a]) * (y - ys[a])) / (ys[b] - ys[a]) + xs[a]) inside = !inside;
    }
    if (inside) found.push(i / 2);
  }
  return found;
}
