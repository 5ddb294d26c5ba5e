// What the views look at: the recorded samples of one step, a verdict on them, and the one selection.

class Frame {
  constructor(source, step, item) {
    Object.assign(this, { source, step, count: item.count, width: item.width, height: item.height });
    this.mixture = item.mixture;
    this.bytes = item.sheet.length;
    for (const [name, column] of Object.entries(item.columns)) this[name] = typedArray(column);
    this.scaled = this.scale();
    this.sheet = pngImage(item.sheet);
    this.ready = false;
    this.decoded = decodedOf(this);
  }

  // The losses as the mixture saw them: 0 to 1 between the batch's lowest and highest.
  scale() {
    const finite = this.loss.filter(Number.isFinite);
    const highest = finite.reduce((most, value) => Math.max(most, value), 0);
    this.low = this.mixture?.usable ? this.mixture.low : 0;
    this.high = this.mixture?.usable ? this.mixture.high : highest || 1;
    const span = this.high - this.low || 1;
    return Float32Array.from(this.loss, (loss) => clamp((loss - this.low) / span, 0, 1));
  }

  // Draws sample `index` into a square of the given side.
  paint(context, index, x, y, side) {
    const columns = Math.max(1, Math.floor(this.sheet.naturalWidth / this.width));
    const left = (index % columns) * this.width;
    const top = Math.floor(index / columns) * this.height;
    context.drawImage(this.sheet, left, top, this.width, this.height, x, y, side, side);
  }
}

// One latent at all recorded steps, its images side by side.
class Film {
  constructor(item) {
    Object.assign(this, { steps: item.steps, width: item.width, height: item.height });
    this.strip = pngImage(item.strip);
    this.ready = false;
    this.decoded = decodedOf(this);
  }
}

// When a sheet can be drawn, or will never be.
function decodedOf(pictures) {
  const image = pictures.sheet || pictures.strip;
  return image.decode().then(
    () => Object.assign(pictures, { ready: true }),
    () => null,
  );
}

// Intervals of scaled loss whose posterior exceeds τ; there can be two boundaries (see dfkd_core/selection/region.py).
function acceptedRegion(mixture, threshold, points = 2001) {
  const logJoint = (value, k) =>
    Math.log(mixture.weights[k] + 1e-300) -
    Math.log(mixture.deviations[k]) -
    0.5 * ((value - mixture.means[k]) / mixture.deviations[k]) ** 2;
  const found = [];
  let begin = null;
  for (let i = 0; i <= points; i += 1) {
    const value = i / (points - 1);
    const inside =
      i < points && 1 / (1 + Math.exp(clamp(logJoint(value, 1) - logJoint(value, 0), -700, 700))) > threshold;
    if (inside && begin == null) begin = value;
    if (!inside && begin != null) {
      found.push([begin, (i - 1) / (points - 1)]);
      begin = null;
    }
  }
  return found;
}

// Who is clean: as the run had it (`threshold` null), or as another τ would have it. Compared in single precision,
// which is how posteriors are kept.
function judge(frame, threshold) {
  const hypothetical = threshold != null && Boolean(frame.posterior);
  const cut = Math.fround(threshold ?? 0);
  const clean = hypothetical ? Uint8Array.from(frame.posterior, (value) => value > cut) : frame.clean;
  const perClass = new Map();
  let kept = 0;
  let confidence = 0;
  let surest = Infinity;
  clean.forEach((flag, i) => {
    if (!flag) return;
    kept += 1;
    confidence += frame.confidence[i];
    surest = Math.min(surest, frame.loss[i]);
    perClass.set(frame.label[i], (perClass.get(frame.label[i]) || 0) + 1);
  });
  const flagged = Uint8Array.from(clean, (flag, i) => !flag && kept > 0 && frame.loss[i] < surest);
  const mixture = frame.mixture?.usable ? frame.mixture : null;
  const region = !mixture ? null : hypothetical ? acceptedRegion(mixture, threshold) : mixture.region;
  return {
    clean,
    flagged,
    kept,
    perClass,
    region,
    hypothetical,
    confidence: kept ? confidence / kept : null,
    covered: perClass.size,
    threshold: hypothetical ? threshold : (frame.mixture?.threshold ?? null),
    flags: flagged.reduce((sum, value) => sum + value, 0),
  };
}

// Which samples are selected, the same in every view.
class Selection {
  constructor(changed) {
    this.changed = changed;
    this.mask = new Uint8Array(0);
    this.size = 0;
  }

  reset(count) {
    this.mask = new Uint8Array(count);
    this.size = 0;
  }

  has(index) {
    return this.mask[index] === 1;
  }

  indices() {
    const found = [];
    this.mask.forEach((flag, index) => {
      if (flag) found.push(index);
    });
    return found;
  }

  // `how`: "replace", "add" (shift) or "toggle" (ctrl).
  take(indices, how = "replace") {
    if (how === "replace") this.mask.fill(0);
    for (const index of indices) this.mask[index] = how === "toggle" ? 1 - this.mask[index] : 1;
    this.size = this.mask.reduce((sum, flag) => sum + flag, 0);
    this.changed();
  }

  clear() {
    if (this.size) this.take([]);
  }
}

const howTo = (event) => (event.ctrlKey || event.metaKey ? "toggle" : event.shiftKey ? "add" : "replace");

// Samples in the order of the grid.
function sorted(frame, by, keep) {
  const order = [];
  for (let index = 0; index < frame.count; index += 1) if (keep(index)) order.push(index);
  const value = (name, index) => (frame[name] ? frame[name][index] : 0);
  const compare = {
    loss: (a, b) => value("loss", a) - value("loss", b),
    confidence: (a, b) => value("confidence", b) - value("confidence", a),
    class: (a, b) => frame.label[a] - frame.label[b] || value("loss", a) - value("loss", b),
    posterior: (a, b) => value("posterior", b) - value("posterior", a) || value("loss", a) - value("loss", b),
    latent: (a, b) => a - b,
  }[by];
  return order.sort((a, b) => compare(a, b) || a - b);
}
