// The stage of a run that distils a generative model: teacher and student beside each other, from the same noise and
// from the same images; how the synthetic images came about; the table of what was measured. See player.js.

const GENERATIVE_SKELETON = `
  <div class="dfkd-parts">
    <section class="dfkd-part" data-part="student"><h3>Teacher and student<small></small></h3><div class="dfkd-grid">
      <section class="dfkd-panel dfkd-same"><h4>Samples from the same noise<span></span></h4><div class="dfkd-beside"></div></section>
      <section class="dfkd-panel dfkd-quality"><h4>Student against teacher<span></span></h4><div class="dfkd-plot" role="img"></div></section>
      <section class="dfkd-panel dfkd-again"><h4>Reconstructions<span></span></h4><div class="dfkd-rows" tabindex="0"></div></section>
      <section class="dfkd-panel dfkd-between"><h4>Interpolations<span></span></h4><div class="dfkd-rows" tabindex="0"></div></section>
      <section class="dfkd-panel dfkd-levels"><h4>Posterior and prior<span></span></h4><div class="dfkd-plot" role="img"></div></section>
      <section class="dfkd-panel dfkd-terms"><h4>Losses by term<span></span></h4><div class="dfkd-plot" role="img"></div></section>
    </div></section>
    <section class="dfkd-part" data-part="synthesis"><h3>Synthesis<small></small></h3><p class="dfkd-origin"></p><div class="dfkd-grid">
      <section class="dfkd-panel dfkd-film"><h4>Film of the synthesis<span></span></h4>
        <div class="dfkd-reel"><button class="dfkd-roll" title="Play the film">▶</button><input type="range" min="0" step="1" aria-label="Frame of the film"><span></span></div>
        <div class="dfkd-now"></div><canvas class="dfkd-strip" role="img"></canvas></section>
      <section class="dfkd-panel dfkd-guidance"><h4>Guidance<span></span></h4><div class="dfkd-plot" role="img"></div></section>
      <section class="dfkd-panel dfkd-made"><h4>Synthetic images<span></span></h4><div class="dfkd-tiles"></div></section>
      <section class="dfkd-panel dfkd-nearest"><h4>Nearest real images<span></span></h4><div class="dfkd-pairs"></div></section>
    </div></section>
    <section class="dfkd-part" data-part="figures"><h3>Figures<small></small></h3>
      <div class="dfkd-measure"><button></button><span role="status"></span></div><div class="dfkd-table"></div></section>
  </div>`;
// What a sheet's column `panel` says, as in dfkd_core/generative_evaluation.py.
const PANELS = { real: 0, teacherAgain: 1, studentAgain: 2, teacherBetween: 3, studentBetween: 4, teacher: 5, student: 6, made: 7 };
const BETWEEN = 10; // images of one interpolation
const FIGURES = { fid: "FID", mismatch: "mismatch", mse: "reconstruction error", elbo: "ELBO" };
const ROLL_SECONDS = 4, STRIP = 138, DEEP = "₀₁₂₃₄₅₆₇₈₉";
const WIDE_RANGE = 8; // from which ratio on an axis is logarithmic
const nats = (value) => (value < 0.01 ? "< 0.01" : value.toPrecision(3)) + " nats";

// An axis for positive values with ticks that read as numbers: 1, 2, 5, 10 …
function logarithmic(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)], tickvals = [];
  if (!(low > 0) || !Number.isFinite(high)) return { type: "log" };
  const steps = high / low > 1000 ? [1] : high / low > 30 ? [1, 2, 5] : [1, 2, 3, 5, 7];
  for (let power = Math.floor(Math.log10(low)) - 1; power <= Math.log10(high) + 1; power++) tickvals.push(...steps.map((step) => Number((step * 10 ** power).toPrecision(2))));
  return { type: "log", tickvals, ticktext: tickvals.map((tick) => (tick < 1e5 ? String(tick) : tick.toExponential().replace("+", ""))) };
}

class Generative extends Player {
  constructor(root) {
    super(root, GENERATIVE_SKELETON);
    this.forget();
    this.at("measure").querySelector("button").addEventListener("click", () => this.command(this.data.job.state === "running" ? "stop measure" : "measure"));
    this.at("roll").addEventListener("click", () => (this.rolling ? this.stopFilm() : this.rollFilm()));
    this.at("reel").querySelector("input").addEventListener("input", (event) => { this.stopFilm(); this.filmFrame(Number(event.target.value)); });
    this.at("strip").addEventListener("click", (event) => { this.stopFilm(); this.filmFrame(Math.floor((event.offsetX / event.target.clientWidth) * this.film.frames)); });
    this.resized = new ResizeObserver(() => this.film && this.drawFilm());
    this.resized.observe(this.at("film"));
  }

  forget() {
    this.stopFilm?.();
    this.drawn = {};
    this.film = this.nearest = this.figure = null;
  }

  arrived() {
    if (!this.data.nearest) return;
    this.nearest = this.data.nearest;
    this.tell(); // so that Python need not send them again
  }

  alsoTold() { return { has_nearest: this.nearest?.version ?? null }; }

  // --- which stage, which sheets ---

  get border() { return this.data.synthesis_steps; }
  get reached() { return this.view ?? this.data.step; }
  get part() { return this.border && this.reached <= this.border ? "synthesis" : "student"; }
  // Known before the run comes there.
  get laterStages() {
    const entered = super.laterStages;
    return entered.length || !this.border ? entered : [{ step: this.border + 1, name: "student", title: "Student" }];
  }

  // The newest sheet of `kind` up to the step shown; while it is on its way, the one that was drawn before.
  sheetOf(kind) {
    const step = this.data.recorded[kind].findLast((one) => one <= (this.view ?? Infinity));
    if (step == null) return null;
    const sheet = this.frames.get(step)?.[kind];
    if (!this.frames.has(step)) this.ask([step]);
    if (sheet) this.drawn[kind + " sheet"] = sheet;
    return sheet ?? this.drawn[kind + " sheet"] ?? null;
  }

  // --- head ---

  scored(value) { return brief(value); }
  get measure() { return { fid: (this.data.quality_label || "FID") + "; lower is better", mismatch: "mismatch with the teacher, lower is better" }[this.data.score] ?? "nothing measured yet"; }

  head() {
    super.head();
    const title = this.stageAt(Math.max(1, this.reached))?.title;
    if (title) this.at("what").prepend(element("b", { className: "dfkd-stage-title" }, title), " ");
    if (this.part !== "synthesis") return;
    const [now, first, images] = ["guidance", "guidance_first", "images"].map((name) => this.valueAt(name));
    const words = now == null ? "no image has been made yet" : `guidance at the end of synthesis, ${brief(first)} at its beginning; ${images.toLocaleString("en")} images made`;
    this.at("score").replaceChildren(now == null ? "–" : brief(now), element("small", {}, words));
  }

  // --- drawing ---

  drawnFor() { return [this.figure, JSON.stringify([this.data.job, this.data.measurable, this.data.origin]), this.data.measured?.version, this.nearest?.version]; }

  drawCurves() {
    this.arrange();
    const seen = (...names) => [this.playing, this.view, this.span, this.data.marks.length, this.data.stages.length, ...names.map((name) => this.data.curves[name]?.x.length)];
    this.once("quality", [...seen(...Object.keys(FIGURES)), this.figure], () => this.quality());
    this.once("terms", seen("student_loss"), () => this.terms());
    this.once("measured", [JSON.stringify([this.data.job, this.data.measurable]), this.data.measured?.version], () => this.measured());
    this.once("nearest", [this.nearest?.version, this.data.measured?.version], () => this.nearestOnes());
  }

  // What the step shown is about comes first; a part that this run does not have is left out.
  arrange() {
    const parts = this.at("parts"), key = [this.part, this.border, this.data.origin].join();
    if (parts.dataset.key === key) return;
    parts.dataset.key = key;
    parts.dataset.now = this.part;
    const sections = Object.fromEntries([...parts.children].map((section) => [section.dataset.part, section]));
    parts.append(...(this.part === "synthesis" ? ["synthesis", "student", "figures"] : ["student", "synthesis", "figures"]).map((name) => sections[name]));
    sections.student.querySelector("small").textContent = this.part === "synthesis" ? "begins at step " + (this.border + 1) + "; until then it is as it was made" : "";
    sections.synthesis.querySelector("small").textContent = this.border && this.part === "student" ? "as it was at step " + this.border : "";
    sections.synthesis.querySelector(".dfkd-grid").hidden = !this.border;
    this.at("origin").textContent = this.data.origin;
  }

  drawSheets() {
    const probes = this.sheetOf("probes"), samples = this.sheetOf("samples"), made = this.sheetOf("made"), film = this.sheetOf("films");
    const pairs = probes ?? samples;
    this.once("same", [pairs?.step, Boolean(probes)], () => this.withSheet("same", pairs, (image) => this.same(pairs, image, Boolean(probes))));
    this.once("again", [probes?.step], () => this.withSheet("again", probes, (image) => this.again(probes, image)));
    this.once("between", [probes?.step], () => this.withSheet("between", probes, (image) => this.between(probes, image)));
    const levels = this.levelsShown();
    this.once("levels", [levels?.step], () => this.levels(levels));
    if (!this.border) return;
    this.once("made", [made?.step], () => this.withSheet("made", made, (image) => this.synthetic(made, image)));
    this.once("film", [film?.step], () => this.newFilm(film));
    this.once("guidance", [film?.step], () => this.guidance());
  }

  // Calls `act` with the sheet's image, unless another has taken its place meanwhile; without one, says so.
  withSheet(panel, sheet, act) {
    this.drawn[panel + " asked"] = sheet?.step;
    if (!sheet) return this.nothing(panel, ["queued", "running", "paused"].includes(this.data.state) ? "The first images appear after the first step." : "None were recorded.");
    const image = pngImage(sheet.sheet);
    image.onload = () => { if (this.drawn[panel + " asked"] === sheet.step) act(image); };
  }

  nothing(panel, words) {
    this.legend(panel, []);
    this.at(panel).querySelector("div:last-of-type").replaceChildren(element("div", { className: "dfkd-empty" }, words));
  }

  // The tiles of one panel of a sheet.
  tilesOf(sheet, image, panel, kind, words) {
    const across = Math.max(1, Math.floor(image.width / sheet.width));
    const mine = sheet.panel.flatMap((value, index) => (value === panel ? [index] : []));
    return mine.map((index, order) => {
      const tile = this.picture(image, sheet.width, sheet.height, (index % across) * sheet.width, Math.floor(index / across) * sheet.height, kind, `${words} ${order + 1}`);
      tile.dataset.order = order;
      return tile;
    });
  }

  // --- teacher and student ---

  same(sheet, image, fixed) {
    this.legend("same", [["teacher", this.colour.teacher, "box"], ["student", this.colour.student, "box"]], (fixed ? "step " : "of the last batch, step ") + sheet.step);
    const box = this.at("beside"), blocks = ["teacher", "student"].map((who) => {
      const tiles = this.tilesOf(sheet, image, PANELS[who], who, `${who}'s sample`);
      return element("div", { className: "dfkd-block " + who }, ...tiles);
    });
    const scrolled = box.scrollTop;
    box.replaceChildren(...blocks);
    box.scrollTop = scrolled;
    // Pointing at an image marks what the other network made of the same noise.
    box.onpointerover = (event) => box.querySelectorAll("canvas").forEach((one) => one.classList.toggle("pointed", one.dataset.order === event.target.dataset?.order));
    box.onpointerleave = () => box.querySelectorAll(".pointed").forEach((one) => one.classList.remove("pointed"));
  }

  again(sheet, image) {
    this.legend("again", [], "step " + sheet.step + (this.data.own_encoder ? "" : "; the student's from its teacher's latents"));
    const row = (name, panel) => this.row(name, name, this.tilesOf(sheet, image, panel, name, name + " image"));
    this.at("again").querySelector(".dfkd-rows").replaceChildren(row("real", PANELS.real), row("teacher", PANELS.teacherAgain), row("student", PANELS.studentAgain));
  }

  row(name, kind, tiles) {
    const line = element("div", { className: "dfkd-line" }, ...tiles);
    line.style.setProperty("--many", tiles.length);
    return element("div", { className: "dfkd-named " + kind }, element("b", {}, name), line);
  }

  between(sheet, image) {
    this.legend("between", [], "from one latent to another, step " + sheet.step);
    const [teacher, student] = [["teacher", PANELS.teacherBetween], ["student", PANELS.studentBetween]].map(([name, panel]) => this.tilesOf(sheet, image, panel, name, `${name}'s image between two latents`));
    const rows = [];
    for (let from = 0; from < teacher.length; from += BETWEEN) {
      rows.push(element("div", { className: "dfkd-path" }, this.row("teacher", "teacher", teacher.slice(from, from + BETWEEN)), this.row("student", "student", student.slice(from, from + BETWEEN))));
    }
    this.at("between").querySelector(".dfkd-rows").replaceChildren(...rows);
  }

  quality() {
    const d = this.data, known = Object.keys(FIGURES).filter((name) => d.curves[name]), name = known.includes(this.figure) ? this.figure : d.score;
    const curve = this.still(this.cut(d.curves[name])), teacher = d.teacher_figures[name];
    this.chips(known, name);
    if (!known.length) return this.plot("quality", [], this.layout({ xaxis: { visible: false }, yaxis: { visible: false } }), "Nothing evaluated yet");
    const better = name === "elbo" ? "higher is better" : "lower is better", all = [...curve.y, ...(teacher == null ? [] : [teacher])];
    const log = Math.min(...all) > 0 && Math.max(...all) / Math.min(...all) > WIDE_RANGE;
    const scale = log ? logarithmic(all) : { rangemode: name === "elbo" ? "normal" : "tozero", nticks: 6 };
    const traces = [{ ...curve, name: "student", mode: "lines+markers", line: { color: this.colour.student, width: 3 }, marker: { size: 5 }, hovertemplate: "%{y:.4g}" }];
    if (teacher != null) traces.unshift({ x: [0, d.total], y: [teacher, teacher], name: "teacher", mode: "lines", line: { color: this.colour.teacher, width: 2, dash: "dash" }, hovertemplate: "%{y:.4g}" });
    const layout = this.layout({
      shapes: this.marks(), annotations: this.changes(), xaxis: this.steps(), margin: { l: 62, r: 8, t: 6, b: 40 },
      yaxis: { ...scale, title: { text: `${FIGURES[name]}, ${better}`, standoff: 4, font: { size: 12 } } },
    });
    layout.uirevision = this.run + name;
    this.plot("quality", traces, layout, `Student's ${FIGURES[name]} over training steps, ${better}, now ${curve.y.length ? brief(curve.y.at(-1)) : "nothing yet"}, teacher ${teacher == null ? "unknown" : brief(teacher)}`);
  }

  // A legend, and a switch between the figures.
  chips(names, chosen) {
    const box = this.at("quality").querySelector("h4 span"), key = JSON.stringify([names, chosen, this.theme]);
    if (box.dataset.key === key) return;
    this.legend("quality", [["student", this.colour.student, "thick"], ["teacher", this.colour.teacher, "dash"]]);
    box.dataset.key = key;
    box.append(...names.map((name) => {
      const chip = element("button", { className: "dfkd-chip", "aria-pressed": String(name === chosen) }, FIGURES[name]);
      chip.addEventListener("click", () => { this.figure = name; this.draw(); });
      return chip;
    }));
  }

  // Of the newest evaluation up to the step shown.
  levelsShown() {
    return this.view == null ? this.data.levels : (this.frames.get(this.view)?.levels ?? this.drawn.shownLevels ?? this.data.levels);
  }

  // One typical latent of each level: a Gaussian around the root mean square of the means, as wide as the mean std.
  levels(found) {
    if (!found) return this.plot("levels", [], this.layout({ xaxis: { visible: false }, yaxis: { visible: false } }), "Nothing evaluated yet");
    this.drawn.shownLevels = found;
    this.legend("levels", [["teacher's posterior", this.colour.teacher, "faint"], ["teacher's prior", this.colour.teacher, "dash"], ["student's prior", this.colour.student, "thick"]], "step " + found.step);
    const count = found.kl.length, gap = 0.03, width = (1 - gap * (count - 1)) / count, traces = [], layout = this.layout({ hovermode: "closest", margin: { l: 8, r: 8, t: 42, b: 40 } });
    layout.annotations = [];
    const kinds = [["posterior", this.colour.teacher, { fill: "tozeroy", fillcolor: this.colour.teacher + "44", line: { width: 0 } }], ["prior", this.colour.teacher, { line: { color: this.colour.teacher, width: 2, dash: "dash" } }], ["student_prior", this.colour.student, { line: { color: this.colour.student, width: 3 } }]];
    for (let level = 0; level < count; level++) {
      const suffix = level ? level + 1 : "", from = level * (width + gap), z = "z" + [...String(count - level)].map((digit) => DEEP[digit]).join("");
      const ends = kinds.flatMap(([kind]) => [-1, 1].map((sign) => found[kind + "_mean"][level] + sign * 3 * found[kind + "_std"][level]));
      const low = Math.min(...ends), high = Math.max(...ends), x = Array.from({ length: 241 }, (_, index) => low + ((high - low) * index) / 240);
      layout["xaxis" + suffix] = { ...layout.xaxis, domain: [from, from + width], anchor: "y" + suffix, range: [low, high], nticks: 5, title: { text: "latent", standoff: 2, font: { size: 12 } } };
      layout["yaxis" + suffix] = { ...layout.yaxis, anchor: "x" + suffix, range: [0, 1.08], visible: false };
      layout.annotations.push({ text: `<b>${z}${level ? "" : ", the top"}</b><br>KL ${nats(found.kl[level])}`, x: from + width / 2, y: 1, yshift: 38, xanchor: "center", yanchor: "top", xref: "paper", yref: "paper", showarrow: false, font: { color: this.colour.text, size: 13 } });
      for (const [kind, , style] of kinds) {
        const mean = found[kind + "_mean"][level], std = found[kind + "_std"][level], points = [...x, ...[-2, -1, -0.5, 0, 0.5, 1, 2].map((z) => mean + z * std)].sort((a, b) => a - b);
        const words = { posterior: "teacher's posterior", prior: "teacher's prior", student_prior: "student's prior" }[kind];
        traces.push({ x: points, y: points.map((value) => Math.exp(-0.5 * ((value - mean) / std) ** 2)), name: words, mode: "lines", xaxis: "x" + suffix, yaxis: "y" + suffix, hovertemplate: `${words}: mean ${brief(mean)}, std ${brief(std)}<extra></extra>`, ...style });
      }
    }
    this.plot("levels", traces, layout, "Typical posterior and prior of a latent, by level: " + found.kl.map((kl, level) => `level ${count - level} KL ${brief(kl)} nats`).join(", "));
  }

  terms() {
    const names = this.data.terms.filter((name) => name !== "guidance"), curves = names.map((name) => this.cut(this.data.curves[name]));
    const colours = names.map((name, index) => (name === "student_loss" ? this.colour.text : this.palette[(index + 1) % 8]));
    const log = curves.every((curve) => curve.y.every((value) => value > 0));
    this.legend("terms", names.map((name, index) => [title(name), colours[index]]), log ? "log" : "");
    const traces = names.map((name, index) => ({ ...curves[index], name: title(name), mode: "lines", line: { color: colours[index], width: name === "student_loss" ? 2.4 : 1.6 }, hovertemplate: "%{y:.4g}" }));
    const yaxis = log ? logarithmic(curves.flatMap((curve) => curve.y)) : { nticks: 5 };
    const layout = this.layout({ shapes: this.marks(), xaxis: this.steps(), yaxis });
    this.plot("terms", traces, layout, "Loss terms over training steps: " + names.map(title).join(", "));
  }

  // --- synthesis ---

  get denoises() { return this.data.source !== "latents"; }

  newFilm(film) {
    this.stopFilm();
    this.film = film;
    this.at("reel").hidden = this.at("strip").hidden = !film;
    if (!film) {
      this.legend("film", [], "");
      this.at("now").replaceChildren(element("div", { className: "dfkd-empty" }, "The first film is shown after the first batch of images."));
      return;
    }
    this.legend("film", [], `batch ${film.step}: ` + (this.denoises ? "the clean image as predicted at each denoising step" : "as their latents move"));
    const image = pngImage(film.sheet);
    image.onload = () => {
      if (this.film !== film) return;
      this.filmImage = image;
      const still = this.playing || matchMedia("(prefers-reduced-motion: reduce)").matches;
      this.filmFrame(still ? film.frames - 1 : 0);
      if (!still) this.rollFilm();
    };
  }

  rollFilm() {
    if (!this.film) return;
    if (this.filmAt >= this.film.frames - 1) this.filmFrame(0);
    this.rolling = setInterval(() => (this.filmAt < this.film.frames - 1 ? this.filmFrame(this.filmAt + 1) : this.stopFilm()), (1000 * ROLL_SECONDS) / this.film.frames);
    this.at("roll").textContent = "❚❚";
  }

  stopFilm() {
    clearInterval(this.rolling);
    this.rolling = null;
    this.at("roll").textContent = "▶";
  }

  filmFrame(index) {
    this.filmAt = clamp(index, 0, this.film.frames - 1);
    this.drawFilm();
  }

  drawFilm() {
    const film = this.film, image = this.filmImage;
    if (!image || !film) return;
    const slider = this.at("reel").querySelector("input");
    slider.max = film.frames - 1;
    slider.value = this.filmAt;
    const where = `frame ${this.filmAt + 1} of ${film.frames}, ${this.denoises ? "t = " : "step "}${film.timestep[this.filmAt]} · guidance ${brief(film.loss[this.filmAt])}`;
    this.at("reel").querySelector("span").textContent = where;
    slider.setAttribute("aria-valuetext", where);
    this.at("film").dataset.frame = this.filmAt;
    const box = this.at("now"), tiles = Array.from({ length: film.shown }, (_, column) => this.picture(image, film.width, film.height, column * film.width, this.filmAt * film.height, "made", `image ${column + 1}, frame ${this.filmAt + 1}`));
    box.style.setProperty("--many", film.shown);
    box.replaceChildren(...tiles);
    this.drawStrip(film, image);
    this.markFrame();
  }

  // All frames beside each other, the one shown framed: one line for each image, as many as there is room for.
  drawStrip(film, image) {
    const canvas = this.at("strip"), side = canvas.clientWidth / film.frames, lines = Math.max(1, Math.min(film.shown, Math.floor(STRIP / side)));
    canvas.style.height = Math.ceil(lines * side) + "px";
    canvas.setAttribute("aria-label", `All ${film.frames} frames of ${lines} images beside each other`);
    const { context } = sharp(canvas);
    context.imageSmoothingEnabled = false;
    for (let frame = 0; frame < film.frames; frame++) {
      for (let line = 0; line < lines; line++) context.drawImage(image, line * film.width, frame * film.height, film.width, film.height, frame * side, line * side, side - 1, side - 1);
    }
    context.strokeStyle = this.made;
    context.lineWidth = 3;
    context.strokeRect(this.filmAt * side, 1, side - 1, lines * side - 2);
  }

  guidance() {
    const film = this.film;
    this.legend("guidance", [], film ? `loss of the images at each ${this.denoises ? "denoising step" : "step of the latents"}, batch ${film.step}` : "");
    if (!film) return this.plot("guidance", [], this.layout({ xaxis: { visible: false }, yaxis: { visible: false } }), "No film yet");
    const traces = [
      { x: film.timestep, y: film.loss, name: "guidance", mode: "lines+markers", line: { color: this.made, width: 2.4 }, marker: { size: 5 }, hovertemplate: "%{y:.4g}" },
      { x: [film.timestep[this.filmAt ?? 0]], y: [film.loss[this.filmAt ?? 0]], mode: "markers", marker: { size: 13, color: this.made, line: { color: this.colour.text, width: 2 } }, hoverinfo: "skip" },
    ];
    const axis = { title: { text: this.denoises ? "timestep t: noise on the left, image on the right" : "step of the latents", standoff: 2, font: { size: 12 } }, autorange: this.denoises ? "reversed" : true };
    const layout = this.layout({ xaxis: axis, yaxis: { rangemode: "tozero", nticks: 5 }, margin: { l: 56, r: 10, t: 6, b: 40 } });
    layout.uirevision = this.run + film.step;
    this.plot("guidance", traces, layout, `Guidance from ${brief(film.loss[0])} at the first frame to ${brief(film.loss.at(-1))} at the last`);
  }

  // The mark of the film's frame moves along the curve without a new plot.
  markFrame() {
    const node = this.at("guidance").querySelector(".dfkd-plot");
    if (!this.plotly || !node.data || node.data.length < 2) return;
    this.plotly.restyle(node, { x: [[this.film.timestep[this.filmAt]]], y: [[this.film.loss[this.filmAt]]] }, [1]);
  }

  synthetic(sheet, image) {
    this.legend("made", [], `batch ${sheet.step}, with the guidance at their end`);
    const tiles = this.tilesOf(sheet, image, PANELS.made, "made", "synthetic image").map((tile, index) => {
      tile.title += ", guidance " + brief(sheet.loss[index]);
      return element("div", { className: "dfkd-tile" }, tile, brief(sheet.loss[index]));
    });
    const box = this.at("made").querySelector(".dfkd-tiles"), scrolled = box.firstChild?.scrollTop ?? 0;
    box.replaceChildren(element("div", { className: "dfkd-sheet", tabIndex: 0 }, ...tiles));
    box.firstChild.scrollTop = scrolled;
  }

  nearestOnes() {
    const found = this.nearest, box = this.at("pairs");
    this.legend("nearest", found ? [["synthetic", this.made, "box"], ["real", this.colour.real, "box"]] : [], found ? "and their distance in features" : "");
    if (!found) return box.replaceChildren(element("div", { className: "dfkd-empty" }, this.data.measured ? "These real images were not kept." : "Measure, below, finds the real image that is nearest to each."));
    const image = pngImage(found.sheet), count = found.distance.length;
    image.onload = () => {
      const across = Math.max(1, Math.floor(image.width / found.width));
      const tile = (index, kind, words) => this.picture(image, found.width, found.height, (index % across) * found.width, Math.floor(index / across) * found.height, kind, words);
      box.replaceChildren(...found.distance.map((distance, index) => element("figure", {}, tile(index, "made", `synthetic image ${index + 1}`), tile(count + index, "real", `the real image nearest to it, at ${brief(distance)}`), element("figcaption", {}, brief(distance)))));
    };
  }

  // --- figures ---

  measured() {
    const { job, measured: found, measurable } = this.data, button = this.at("measure").querySelector("button"), words = this.at("measure").querySelector("span");
    const running = job.state === "running";
    button.textContent = running ? "Stop" : found ? "Measure again" : "Measure";
    button.disabled = !running && !measurable;
    if (running) words.textContent = `${job.message}: ${whole(job.share)}` + (job.left == null ? "" : ", " + duration(job.left) + " left");
    else if (job.state === "failed") words.textContent = job.message;
    else words.textContent = found ? found.notes.join(" ") : measurable ? "FID, EMD, MMD, 1NN, reconstruction, size and time of teacher and student, on test images." : "Can be measured once the run has a checkpoint.";
    this.at("table").replaceChildren(...(found ? [this.table(found.rows)] : []));
  }

  table(rows) {
    const head = element("tr", {}, element("th", {}, ""), element("th", { className: "teacher" }, "teacher"), element("th", { className: "student" }, "student"));
    return element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows.map(([name, teacher, student]) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, teacher), element("td", {}, student)))));
  }

  colours() {
    super.colours();
    this.made = this.palette[6];
    this.root.style.setProperty("--made", this.made);
  }
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const host = parentElement.querySelector(".dfkd-host") || parentElement;
  if (!host.dfkdStage) host.dfkdStage = new Generative(host);
  host.dfkdStage.update(data, setStateValue);
}
