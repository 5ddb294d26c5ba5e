// Slow motion: one step of the method, phase by phase, on a diagram whose boxes show that step's own tensors.
// The phases, their titles and captions come from the method; what a box draws follows from what its phase carries.

const SLOW_SKELETON = `
  <div class="dfkd-slow-head">
    <b class="dfkd-slow-where"></b>
    <button class="dfkd-slow-back" title="The phase before">◀</button>
    <button class="dfkd-slow-play" title="Go on by itself">▶ Play</button>
    <button class="dfkd-slow-next" title="The next phase">Next phase ▶</button>
    <span class="dfkd-slow-note" role="status"></span>
    <button class="dfkd-slow-close" title="Leave slow motion">✕</button>
  </div>
  <ol class="dfkd-flow"></ol>
  <p class="dfkd-slow-caption" aria-live="polite"></p>`;
const PHASE_MS = 2200, DRAWN = 12, PAIRS = 3, FILMED = { images: 4, frames: 8 };
const OF_GENERATIVE = ["output_kl", "latent_match", "reconstruction", "kl", "guidance_first", "guidance"];

class SlowMotion {
  constructor(stage, root) {
    this.stage = stage;
    this.root = root;
    root.innerHTML = SLOW_SKELETON;
    this.frames = new Map();
    this.on = false;
    const at = (name, act) => this.at(name).addEventListener("click", act);
    at("back", () => { this.pause(); this.back(); });
    at("next", () => { this.pause(); this.next(); });
    at("play", () => (this.timer ? this.pause() : this.play()));
    at("close", () => this.leave());
  }

  at(name) { return this.root.querySelector(".dfkd-slow-" + name); }
  get data() { return this.stage.data; }
  // The phases of the step shown: a run of several stages has others in each.
  get info() {
    const all = this.data.phases || [];
    if (this.frame) this.names = this.frame.phases.map((phase) => phase.name);
    return this.names ? all.filter((info) => this.names.includes(info.name)) : all;
  }
  get live() { return ["running", "paused"].includes(this.data.state); }
  get frame() { return this.frames.get(this.step); }

  // --- moving ---

  enter() {
    this.stage.stopPlaying();
    this.on = true;
    this.phase = 0;
    this.step = null;
    if (this.live) this.another();
    else this.goTo(this.nearest(this.stage.view ?? 0), 0); // from the beginning, unless a step was chosen
    this.stage.draw();
  }

  leave() {
    this.pause();
    this.on = false;
    this.waiting = null;
    this.stage.tell();
    this.stage.draw();
  }

  // A live run does one more step for us, and stays paused after it.
  another() {
    this.waiting = this.data.slow_steps.at(-1) ?? 0;
    this.stage.command("slow");
  }

  nearest(step) {
    return this.data.slow_steps.reduce((best, one) => (Math.abs(one - step) < Math.abs(best - step) ? one : best), this.data.slow_steps[0]);
  }

  goTo(step, phase) {
    if (step == null) return;
    this.step = step;
    this.phase = phase;
    if (!this.live) this.stage.view = this.stage.nearestFrame(step);
    this.stage.tell();
    this.stage.draw();
  }

  next() {
    if (this.waiting != null) return;
    if (this.phase < this.info.length - 1) return this.goTo(this.step, this.phase + 1);
    const steps = this.data.slow_steps, index = steps.indexOf(this.step);
    if (index >= 0 && index < steps.length - 1) return this.goTo(steps[index + 1], 0);
    if (this.live) { this.another(); this.stage.draw(); } else this.pause();
  }

  back() {
    if (this.phase > 0) return this.goTo(this.step, this.phase - 1);
    const index = this.data.slow_steps.indexOf(this.step);
    if (index > 0) this.goTo(this.data.slow_steps[index - 1], this.info.length - 1);
  }

  play() {
    this.timer = setInterval(() => this.next(), PHASE_MS);
    this.draw();
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
  }

  // --- news ---

  update() {
    for (const [step, frame] of Object.entries(this.data.slow_frames)) this.frames.set(Number(step), frame);
    if (this.on && this.waiting != null && (this.data.slow_steps.at(-1) ?? 0) > this.waiting) {
      this.waiting = null;
      this.goTo(this.data.slow_steps.at(-1), 0);
    }
    if (!this.on && this.asked !== this.stage.run && this.data.slow) { // a link that leads here
      this.on = true;
      [this.step, this.phase] = this.data.slow;
      if (!this.live) this.stage.view ??= this.stage.nearestFrame(this.step);
    }
    this.asked = this.stage.run;
  }

  reset() {
    this.pause();
    this.on = false;
    this.frames.clear();
    this.waiting = this.step = this.names = null;
  }

  draw() {
    this.root.hidden = !this.on;
    if (!this.on) { this.drawn = null; return; }
    const waiting = this.waiting != null || (this.step != null && !this.frame);
    const total = this.info.length;
    if (this.frame) this.phase = Math.min(this.phase, total - 1); // another stage has other phases
    this.at("where").textContent = this.step == null ? "Slow motion" : "Step " + this.step + " · phase " + (this.phase + 1) + " of " + total;
    this.at("note").textContent = this.note(waiting);
    this.at("next").disabled = !this.live && this.phase === total - 1 && this.step === this.data.slow_steps.at(-1);
    this.at("back").disabled = this.phase === 0 && this.step === this.data.slow_steps[0];
    this.at("play").textContent = this.timer ? "❚❚ Pause" : "▶ Play";
    this.caption(this.frame ? this.info[this.phase] : null);
    this.root.dataset.step = this.step ?? "";
    this.root.dataset.phase = this.frame ? this.info[this.phase].name : "";
    const key = [this.stage.run, this.step, Boolean(this.frame), this.stage.theme].join("|");
    if (key !== this.drawn) {
      this.drawn = key;
      this.root.querySelector(".dfkd-flow").replaceChildren(...this.info.map((info, index) => this.box(info, index)));
    }
    this.root.querySelectorAll(".dfkd-box").forEach((box, index) => {
      box.classList.toggle("now", index === this.phase);
      box.classList.toggle("later", index > this.phase);
      if (index === this.phase) box.setAttribute("aria-current", "step");
      else box.removeAttribute("aria-current");
    });
  }

  caption(info) {
    const key = info?.name ?? "";
    if (this.captioned === key) return;
    this.captioned = key;
    const words = document.createElement("small");
    (info?.terms || []).forEach((name) => words.append(this.stage.term(name), " "));
    this.at("caption").replaceChildren(info?.caption ?? "", words);
  }

  note(waiting) {
    if (!this.data.slow_steps.length && !this.live) return "This run recorded no step in slow motion (phases every: 0).";
    if (waiting) return this.waiting != null ? "Computing one step…" : "Loading…";
    return this.live ? "The run is paused; each round is one more step of it." : "Recorded steps of this run.";
  }

  // --- boxes ---

  box(info, index) {
    const box = document.createElement("li"), heading = document.createElement("h5"), body = document.createElement("div");
    box.className = "dfkd-box";
    box.dataset.phase = info.name;
    heading.textContent = index + 1 + " " + info.title;
    body.className = "dfkd-box-body";
    box.append(heading, body);
    box.addEventListener("click", () => { this.pause(); this.goTo(this.step, index); });
    const phase = this.frame?.phases.find((one) => one.name === info.name);
    if (phase) this.fill(body, phase);
    return box;
  }

  fill(body, phase) {
    const { arrays, values } = phase;
    if (arrays.latents) body.append(this.heatmap(arrays.latents));
    const pairs = arrays.teacher_probabilities && arrays.student_probabilities;
    if (arrays.loss && arrays.loss.length > (phase.count || 0)) body.append(this.histogram(phase));
    else if (pairs) body.append(...this.pairs(phase));
    if (arrays.shown) body.append(this.film(phase));
    else if (phase.strip && !pairs) body.append(this.thumbnails(phase));
    body.append(this.numbers(values));
  }

  heatmap(rows) {
    const canvas = document.createElement("canvas"), width = Math.min(48, rows[0].length);
    canvas.width = width;
    canvas.height = rows.length;
    canvas.className = "dfkd-heat";
    const context = canvas.getContext("2d");
    rows.forEach((row, y) => row.slice(0, width).forEach((value, x) => {
      const strength = Math.max(-1, Math.min(1, value / 2.5)), colour = strength < 0 ? this.stage.colour.student : this.stage.colour.rejected;
      context.globalAlpha = Math.abs(strength);
      context.fillStyle = colour;
      context.fillRect(x, y, 1, 1);
    }));
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", rows.length + " latents, one a row; the first " + width + " numbers of each");
    return canvas;
  }

  thumbnails(phase) {
    const box = document.createElement("div"), strip = new Image(), { arrays } = phase;
    box.className = "dfkd-thumbs";
    for (let index = 0; index < Math.min(DRAWN, phase.count); index++) {
      const tile = document.createElement("figure"), label = (arrays.teacher_label ?? arrays.wanted)?.[index];
      if (arrays.clean) tile.className = arrays.clean[index] ? "clean" : "rejected";
      tile.append(this.picture(strip, phase, index));
      if (label != null) {
        const caption = document.createElement("figcaption");
        const sure = arrays.teacher_probabilities?.[index][label];
        caption.textContent = (this.data.classes[label] ?? label) + (sure == null ? "" : " " + Math.round(100 * sure) + "%");
        tile.append(caption);
        if (arrays.loss) tile.title = "loss " + arrays.loss[index].toFixed(3) + " nats";
      }
      box.append(tile);
    }
    strip.src = "data:image/png;base64," + phase.strip;
    return box;
  }

  // A synthesis: an image a line, its course from left to right.
  film(phase) {
    const box = document.createElement("div"), strip = new Image(), [frames, shown] = phase.arrays.shown;
    box.className = "dfkd-thumbs film";
    const columns = Math.min(FILMED.frames, frames);
    box.style.setProperty("--columns", columns);
    for (let line = 0; line < Math.min(FILMED.images, shown); line++) {
      for (let column = 0; column < columns; column++) {
        const frame = columns > 1 ? Math.round((column * (frames - 1)) / (columns - 1)) : 0;
        const tile = document.createElement("figure");
        tile.title = "guidance " + short(phase.arrays.loss[frame]);
        tile.append(this.picture(strip, phase, frame * shown + line));
        box.append(tile);
      }
    }
    strip.src = "data:image/png;base64," + phase.strip;
    return box;
  }

  picture(strip, phase, index) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = phase.width;
    strip.addEventListener("load", () => canvas.getContext("2d").drawImage(strip, -index * phase.width, 0));
    return canvas;
  }

  // Teacher upwards, student downwards, for the first few images.
  pairs(phase) {
    const strip = new Image(), { arrays } = phase;
    const rows = Array.from({ length: Math.min(PAIRS, phase.count) }, (_, index) => {
      const row = document.createElement("div"), chart = document.createElement("canvas");
      row.className = "dfkd-pair";
      this.bars(chart, arrays.teacher_probabilities[index], arrays.student_probabilities[index]);
      row.append(this.picture(strip, phase, index), chart);
      return row;
    });
    strip.src = "data:image/png;base64," + phase.strip;
    const legend = document.createElement("div");
    legend.className = "dfkd-slow-legend";
    legend.innerHTML = "<span class=teacher>teacher ▲</span><span class=student>student ▼</span>";
    return [legend, ...rows];
  }

  bars(canvas, teacher, student) {
    canvas.width = 220;
    canvas.height = 68;
    const context = canvas.getContext("2d"), step = canvas.width / teacher.length;
    const draw = (values, colour, sign) => {
      context.fillStyle = colour;
      values.forEach((value, index) => {
        const height = Math.max(1, value * 32);
        context.fillRect(index * step + 1, sign > 0 ? 34 - height : 34, Math.max(1, step - 2), height);
      });
    };
    draw(teacher, this.stage.colour.teacher, 1);
    draw(student, this.stage.colour.student, -1);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "Class distributions of teacher (up) and student (down)");
  }

  histogram({ arrays, values }) {
    const canvas = document.createElement("canvas"), bins = 24, width = 240, height = 110;
    canvas.width = width;
    canvas.height = height;
    canvas.className = "dfkd-split";
    const low = values.low ?? Math.min(...arrays.loss), span = (values.high ?? Math.max(...arrays.loss)) - low || 1;
    const counts = [new Array(bins).fill(0), new Array(bins).fill(0)];
    arrays.loss.forEach((loss, index) => {
      const scaled = Math.max(0, Math.min(1, (loss - low) / span));
      counts[arrays.clean[index] ? 1 : 0][Math.min(bins - 1, Math.floor(scaled * bins))] += 1;
    });
    const tallest = Math.max(...counts[0].map((count, bin) => count + counts[1][bin])), scale = (height - 4) / tallest;
    const context = canvas.getContext("2d"), step = width / bins;
    (arrays.region || []).forEach(([from, to]) => {
      context.globalAlpha = 0.16;
      context.fillStyle = this.stage.colour.clean;
      context.fillRect(from * width, 0, (to - from) * width, height);
      context.globalAlpha = 1;
    });
    for (let bin = 0; bin < bins; bin++) {
      let base = height;
      [["clean", 1], ["rejected", 0]].forEach(([name, flag]) => {
        const tall = counts[flag][bin] * scale;
        context.fillStyle = this.stage.colour[name];
        context.fillRect(bin * step + 0.5, base - tall, step - 1, tall);
        base -= tall;
      });
    }
    context.strokeStyle = this.stage.colour.text;
    (arrays.weights || []).forEach((weight, k) => {
      context.setLineDash(k ? [3, 3] : []);
      context.lineWidth = 1.6;
      context.beginPath();
      for (let x = 0; x <= width; x += 2) {
        const z = (x / width - arrays.means[k]) / arrays.deviations[k];
        const density = ((weight * arrays.loss.length) / bins / (arrays.deviations[k] * Math.sqrt(2 * Math.PI))) * Math.exp(-0.5 * z * z);
        context.lineTo(x, height - Math.min(height, density * scale));
      }
      context.stroke();
    });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "Judged losses of the batch, clean and rejected, with the two Gaussians");
    return canvas;
  }

  numbers(values) {
    const list = document.createElement("dl"), entries = Object.entries(values);
    const norms = entries.filter(([name]) => name.startsWith("gradient/"));
    const total = norms.reduce((sum, [, value]) => sum + value, 0);
    const line = (name, text, share = null) => {
      const key = document.createElement("dt"), value = document.createElement("dd");
      key.textContent = name;
      value.textContent = text;
      if (share != null) { value.style.setProperty("--share", Math.round(100 * share) + "%"); value.className = "bar"; }
      list.append(key, value);
    };
    if (values.kept != null) line("kept", Math.round(values.kept * values.batch) + " of " + values.batch);
    if (values.threshold != null) line("threshold τ", values.threshold);
    if (values.levels != null) line("levels", values.levels);
    if (values.length != null) line("numbers each", values.length);
    if (values.collected != null) line("collected", values.collected);
    for (const name of ["confidence_real", "confidence_fake"]) if (values[name] != null) line(name.replace("confidence_", "taken for real: "), whole(values[name]));
    for (const name of ["student_loss", "gradient", "learning_rate", "student_steps"]) {
      if (values[name] != null) line({ gradient: "‖gradient‖", student_steps: "steps like this" }[name] || title(name), short(values[name]));
    }
    for (const name of OF_GENERATIVE) if (values[name] != null) line(name === "guidance_first" ? "guidance at first" : title(name), short(values[name]));
    norms.forEach(([name, norm]) => {
      const term = name.slice("gradient/".length);
      line(title(term), short(values[term]));
      line("‖gradient‖", short(norm), total ? norm / total : 0);
    });
    return list;
  }
}

const short = (value) => (Number.isInteger(value) ? String(value) : Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));
