// The stage of a run that learns from collected images: collected set, GAN, hybrid set, student. What the step shown is
// about comes first. See player.js for scrubber, playing and plots.

const HYBRID_SKELETON = `
  <div class="dfkd-parts">
    <section class="dfkd-part" data-part="collected"><h3>Collected set<small></small></h3><div class="dfkd-grid">
      <section class="dfkd-panel dfkd-histogram"><h4>Pseudo-label<span></span></h4><div class="dfkd-plot" role="img"></div></section>
      <section class="dfkd-panel dfkd-few"><h4>Collected images<span></span></h4><div class="dfkd-columns" tabindex="0"></div></section>
    </div></section>
    <section class="dfkd-part" data-part="gan"><h3>GAN<small></small></h3><div class="dfkd-grid">
      <section class="dfkd-panel dfkd-pairs"><h4>Synthetic images<span></span></h4><div class="dfkd-rows" tabindex="0"></div></section>
      <section class="dfkd-panel dfkd-sure"><h4>Discriminator confidence<span></span></h4><div class="dfkd-plot" role="img"></div></section>
      <section class="dfkd-panel dfkd-frequencies"><h4>Class frequencies<span></span></h4><div class="dfkd-plot" role="img"></div></section>
      <section class="dfkd-panel dfkd-judge-terms"><h4>Discriminator<span></span></h4><div class="dfkd-plot" role="img"></div></section>
      <section class="dfkd-panel dfkd-maker-terms"><h4>Generator<span></span></h4><div class="dfkd-plot" role="img"></div></section>
      <section class="dfkd-panel dfkd-health"><h4>Term health<span></span></h4><div class="dfkd-plot" role="img"></div></section>
      <section class="dfkd-panel dfkd-spread"><h4>Course<span></span></h4><div class="dfkd-plot" role="img"></div></section>
    </div></section>
    <section class="dfkd-part" data-part="hybrid"><h3>Hybrid set<small></small></h3><div class="dfkd-grid">
      <section class="dfkd-panel dfkd-inflation"><h4>Inflation<span></span></h4><div class="dfkd-mix"></div></section>
      <section class="dfkd-panel dfkd-bound"><h4>Total variation distance<span></span></h4><div class="dfkd-plot" role="img"></div>
        <div class="dfkd-estimate"><button class="dfkd-apart"></button><span role="status"></span></div>
        <p class="dfkd-theory">P: collected, Q: synthetic, U: hybrid. Repeating the collected images moves the hybrid set towards them and away from the synthetic ones.
          The paper's bound on the distance from the synthetic ones falls only because it is loose: the distance itself grows.</p></section>
    </div></section>
    <section class="dfkd-part" data-part="student"><h3>Student<small></small></h3><div class="dfkd-grid">
      <section class="dfkd-panel dfkd-accuracy"><h4>Student against teacher<span></span></h4><div class="dfkd-plot" role="img"></div></section>
      <section class="dfkd-panel dfkd-batch"><h4>Batch<span></span></h4><div class="dfkd-sheet" tabindex="0"></div></section>
      <section class="dfkd-panel dfkd-loss"><h4>Student loss<span></span></h4><div class="dfkd-plot" role="img"></div></section>
    </div></section>
  </div>`;
const ORDER = { gan: ["gan", "collected", "hybrid", "student"], student: ["student", "hybrid", "collected", "gan"] };
const IN_A_ROW = { collected: 5, made: 8 }; // images of a class, at most
const FARTHEST = 20; // inflation factors drawn, at least
const OVERFITTED = 0.1; // gap between collected and unseen images that is called so

class Hybrid extends Player {
  constructor(root) {
    super(root, HYBRID_SKELETON);
    this.hidden = new Set();
    this.forget();
    this.at("apart").addEventListener("click", () => this.command(this.data.job.state === "running" ? "stop distance" : "distance"));
  }

  forget() {
    this.collected = null;
    this.drawn = {};
  }

  arrived() {
    const images = this.data.collected_images;
    if (!images || this.collected) return;
    this.collected = { ...images, sheet: pngImage(images.sheet) };
    this.collected.sheet.onload = () => { this.drawn = {}; this.draw(); };
    this.tell(); // so that Python need not send them again
  }

  alsoTold() { return { has_collected: Boolean(this.collected) }; }

  // --- which stage ---

  get border() { return this.data.gan_steps; }
  // Known before the run comes there.
  get laterStages() {
    const entered = super.laterStages;
    return entered.length || !this.border ? entered : [{ step: this.border + 1, name: "student", title: "The student learns" }];
  }
  get reached() { return this.view ?? this.data.step; }
  get part() { return this.reached <= this.border ? "gan" : "student"; }

  // The newest recorded sheet of a stage up to the step shown.
  sheetOf(part) {
    const mine = this.data.steps.filter((step) => (part === "gan") === (step <= this.border) && step <= (this.view ?? Infinity));
    if (!mine.length) return null;
    const step = mine[mine.length - 1];
    if (!this.frames.has(step)) this.ask([step]);
    return this.frames.get(step) ?? this.frames.get(this.drawn[part + " sheet"]) ?? null;
  }

  steps(part = "student") {
    const range = part === "gan" ? [0, this.border] : [this.border, Math.max(this.border + 1, this.span)];
    return { title: { text: "training step", standoff: 2, font: { size: 12 } }, range };
  }

  // --- drawing ---

  head() {
    super.head();
    const title = this.stageAt(Math.max(1, this.reached))?.title;
    if (title) this.at("what").prepend(element("b", { className: "dfkd-stage-title" }, title), " ");
    if (this.part !== "gan") return;
    const covered = this.valueAt("coverage"), fake = this.valueAt("confidence_fake");
    const words = element("small", {}, covered == null ? "the GAN has not begun" : "of the classes covered by the generator");
    if (fake != null) words.append(", ", element("strong", {}, whole(fake)), " of its images taken for real");
    this.at("score").replaceChildren(covered == null ? "–" : whole(covered), words);
  }

  drawCurves() {
    this.arrange();
    const seen = (names, part) => [this.playing, this.view, this.span, this.data.marks.length, part, ...names.map((name) => this.data.curves[name]?.x.length)];
    this.once("histogram", [Boolean(this.data.collected)], () => this.histogram());
    this.once("few", [Boolean(this.collected?.sheet.complete)], () => this.few());
    if (this.border) {
      this.once("sure", seen(["confidence_real", "confidence_unseen"]), () => this.sure());
      this.once("terms", [...seen(this.data.terms), ...this.hidden], () => this.terms());
      this.once("health", seen(this.data.terms.map((name) => "share/" + name)), () => this.health());
      this.once("spread", seen(["coverage", "diversity"]), () => this.spread());
    }
    this.once("mix", [JSON.stringify(this.data.mix)], () => this.mix());
    this.once("bound", [JSON.stringify([this.data.mix, this.data.distance])], () => this.bound());
    this.once("estimate", [JSON.stringify([this.data.job, this.data.measurable, this.data.distance])], () => this.estimate());
    this.once("accuracy", seen(["accuracy", "agreement"]), () => this.accuracy());
    this.once("loss", seen(["student_loss"]), () => this.loss());
  }

  drawnFor() { return [...this.hidden, JSON.stringify([this.data.job, this.data.distance, this.data.measurable, this.data.collected]), Boolean(this.collected)]; }

  // The stage of the step shown comes first; parts that this run does not have are left out.
  arrange() {
    const parts = this.at("parts"), key = [this.part, this.border, Boolean(this.data.mix), Boolean(this.data.collected)].join();
    if (parts.dataset.key === key) return;
    parts.dataset.key = key;
    parts.dataset.now = this.part;
    const there = { gan: this.border > 0, hybrid: Boolean(this.data.mix), collected: Boolean(this.data.collected), student: true };
    const sections = Object.fromEntries([...parts.children].map((section) => [section.dataset.part, section]));
    for (const [name, section] of Object.entries(sections)) section.hidden = !there[name];
    parts.append(...ORDER[this.part].map((name) => sections[name]));
    const begins = this.part === "gan" ? "begins at step " + (this.border + 1) : "";
    sections.student.querySelector("small").textContent = begins;
    sections.gan.querySelector("small").textContent = this.part === "gan" ? "" : "as it was at step " + this.border;
  }

  drawSheets() {
    for (const part of ["gan", "student"]) {
      const sheet = this.sheetOf(part);
      const on = [sheet?.step, Boolean(this.collected?.sheet.complete)];
      if (part === "gan" && this.border) this.once("pairs", on, () => { this.pairs(sheet); this.frequencies(sheet); });
      if (part === "student") this.once("batch", on, () => this.batch(sheet));
      if (sheet) this.drawn[part + " sheet"] = sheet.step;
    }
  }

  // --- collected set ---

  histogram() {
    const facts = this.data.collected;
    if (!facts) return;
    const names = facts.histogram.map((_, index) => this.data.classes[index] ?? String(index)), even = facts.count / names.length;
    const small = this.at("parts").querySelector("[data-part=collected] small");
    const kept = facts.unseen ? ", " + facts.unseen + " others kept unseen" : "";
    const ways = { random: "at random", "cross-entropy": "those of lowest cross-entropy", confidence: "those confident for their class" };
    small.textContent = `${facts.count.toLocaleString("en")} of ${facts.title}, chosen ${ways[facts.collecting]}: ρ = ${Number(facts.ratio.toPrecision(3))} of ${facts.original.toLocaleString("en")}${kept}`;
    this.legend("histogram", [], "the teacher's class, mean confidence " + whole(facts.mean_confidence));
    const shapes = [{ type: "line", x0: 0, x1: 1, xref: "paper", y0: even, y1: even, line: { color: this.colour.text, width: 1.2, dash: "dash" } }];
    const bars = { type: "bar", x: names, y: facts.histogram, text: names.length > 20 ? undefined : facts.histogram, textposition: "outside", cliponaxis: false, marker: { color: this.colour.real }, hovertemplate: "%{x}: %{y}<extra></extra>" };
    const layout = this.layout({ shapes, hovermode: "closest", margin: { l: 36, r: 6, t: 16, b: this.classMargin }, xaxis: this.classAxis("the teacher's class") });
    this.plot("histogram", [bars], layout, "Collected images by the teacher's class: " + names.map((name, index) => name + " " + facts.histogram[index]).join(", "));
  }

  // Long names stand slanted, and then there is no room for a title.
  get longNames() { return this.data.classes.length <= 20 && this.data.classes.some((name) => name.length > 3); }
  get classMargin() { return this.longNames ? 62 : 40; }

  classAxis(text) {
    const many = this.data.classes.length > 20, words = many ? text + " (" + this.data.classes.length + ")" : text;
    return { type: "category", showticklabels: !many, tickangle: this.longNames ? -40 : 0, title: { text: this.longNames ? "" : words, standoff: 2, font: { size: 12 } } };
  }

  few() {
    const facts = this.data.collected, box = this.at("few").querySelector(".dfkd-columns");
    if (!facts) return;
    const sparse = facts.histogram.filter((count) => !count).length;
    this.legend("few", [], sparse ? sparse + " of " + facts.histogram.length + " classes without any collected image" : "a few of each class");
    if (!this.collected?.sheet.complete) return box.replaceChildren();
    const shown = facts.histogram.map((_, index) => index).filter((index) => facts.histogram[index] || facts.histogram.length <= 20);
    box.replaceChildren(...shown.map((index) => {
      const images = this.collectedOf(index);
      const column = element("div", { className: "dfkd-column" }, element("b", {}, this.data.classes[index] ?? String(index)));
      column.append(...(images.length ? images : [element("i", {}, "none")]));
      return column;
    }));
  }

  collectedOf(label, most = Infinity) {
    const { sheet, width, height, label: labels, confidence } = this.collected;
    const found = labels.flatMap((value, index) => (value === label ? [index] : [])).slice(0, most);
    return found.map((index) => this.picture(sheet, width, height, 0, index * height, "collected", "collected, the teacher says " + this.named(label) + " with " + whole(confidence[index])));
  }

  named(label) { return this.data.classes[label] ?? String(label); }

  // --- GAN ---

  pairs(frame) {
    const box = this.at("pairs").querySelector(".dfkd-rows");
    if (!frame) {
      this.legend("pairs", []);
      return box.replaceChildren(element("div", { className: "dfkd-empty" }, "The first images appear after the first step."));
    }
    const told = frame.wanted && new Set(frame.wanted).size > 1, by = told ? frame.wanted : frame.label;
    this.legend("pairs", [["collected", this.colour.real, "box"], ["synthetic", this.made, "box"]], (told ? "by the class it was told" : "by the teacher's class") + ", step " + frame.step);
    const sheet = pngImage(frame.sheet);
    sheet.onload = () => {
      if (this.drawn["gan sheet"] !== frame.step) return;
      box.style.setProperty("--label", Math.min(10, Math.max(...this.data.classes.map((name) => name.length))) + 1 + "ch");
      const scrolled = box.scrollTop, classes = this.data.classes.map((_, index) => index).filter((index) => this.data.classes.length <= 20 || by.includes(index));
      box.replaceChildren(...classes.map((index) => this.row(frame, sheet, index, by)));
      box.scrollTop = scrolled;
    };
  }

  row(frame, sheet, label, by) {
    const across = Math.max(1, Math.floor(sheet.width / frame.width));
    const mine = by.flatMap((value, index) => (value === label ? [index] : [])).slice(0, IN_A_ROW.made);
    const made = mine.map((index) => {
      const seen = frame.label[index], right = seen === label;
      const spoken = `synthetic, told ${this.named(label)}, the teacher says ${this.named(seen)} with ${whole(frame.confidence[index])}`;
      const tile = this.picture(sheet, frame.width, frame.height, (index % across) * frame.width, Math.floor(index / across) * frame.height, right ? "made" : "made other", spoken);
      return right ? tile : element("figure", {}, tile, element("figcaption", {}, this.named(seen)));
    });
    const collected = this.collected?.sheet.complete ? this.collectedOf(label, IN_A_ROW.collected) : [];
    return element("div", { className: "dfkd-row" }, element("b", {}, this.named(label)),
      element("div", { className: "left" }, ...(collected.length || !this.collected ? collected : [element("i", {}, "none")])), element("div", { className: "right" }, ...made));
  }

  // Real against unseen: what the discriminator is surer of on images that it has learned from, it knows by heart.
  sure() {
    const [real, unseen, fake] = ["real", "unseen", "fake"].map((name) => this.cut(this.data.curves["confidence_" + name]));
    const smooth = [real, fake].map((curve) => smoothed(curve, this.border / 25));
    const level = unseen.x.map((x) => smooth[0].y[smooth[0].x.indexOf(x)] ?? null), traces = [], annotations = [];
    if (unseen.x.length > 1) {
      traces.push({ ...unseen, mode: "lines", line: { width: 0 }, hoverinfo: "skip" });
      traces.push({ x: unseen.x, y: level.map((value, index) => Math.max(value, unseen.y[index])), mode: "lines", line: { width: 0 }, fill: "tonexty", fillcolor: transparent(this.colour.real, 0.25), hoverinfo: "skip" });
    }
    const last = unseen.x.findLastIndex((x) => x <= (this.view ?? Infinity)), gap = last < 0 ? null : level[last] - unseen.y[last];
    if (last > 0) {
      annotations.push({ x: unseen.x[last], y: (level[last] + unseen.y[last]) / 2, text: gap > OVERFITTED ? "overfitting: gap " + whole(gap) : "gap " + whole(Math.max(0, gap)), showarrow: false,
        xanchor: unseen.x[last] > this.border / 2 ? "right" : "left", font: { color: this.colour.text, size: 12 }, bgcolor: this.colour.panel, opacity: 0.9 });
    }
    const line = (curve, name, color, more) => traces.push({ ...curve, name, mode: "lines", line: { color, width: 2.4 }, hovertemplate: "%{y:.0%}", ...more });
    line(real, "", this.colour.real, { opacity: 0.3, line: { color: this.colour.real, width: 1 }, hoverinfo: "skip", hovertemplate: undefined });
    line(fake, "", this.made, { opacity: 0.3, line: { color: this.made, width: 1 }, hoverinfo: "skip", hovertemplate: undefined });
    line(smooth[0], "collected", this.colour.real);
    line(unseen, "unseen", this.colour.real, { mode: "lines+markers", line: { color: this.colour.real, width: 2, dash: "dash" }, marker: { size: 5 } });
    line(smooth[1], "synthetic", this.made);
    const legend = [["collected", this.colour.real], ["synthetic", this.made]];
    if (unseen.x.length) legend.splice(1, 0, ["unseen", this.colour.real, "dash"]);
    this.legend("sure", legend);
    const yaxis = { range: [0, 1.02], tickformat: ".0%", title: { text: "taken for real", standoff: 2, font: { size: 12 } } };
    this.plot("sure", traces, this.layout({ shapes: this.marks(), annotations, xaxis: this.steps("gan"), yaxis, margin: { l: 56, r: 8, t: 6, b: 40 } }), "Discriminator's confidence that collected, unseen and synthetic images are real, over training steps");
  }

  frequencies(frame) {
    const shares = frame?.class_shares;
    const names = this.data.classes, legend = [["made", this.made, "box"]];
    const traces = shares ? [{ type: "bar", x: names, y: shares.made, name: "made", marker: { color: this.made, opacity: 0.6 }, hovertemplate: "made %{y:.1%}<extra></extra>" }] : [];
    if (shares?.smoothed) {
      traces.push({ x: names, y: shares.smoothed, name: "smoothed n̂", mode: "lines+markers", line: { color: this.colour.text, width: 1.6, shape: "hvh" }, marker: { size: 5 }, hovertemplate: "n̂ %{y:.1%}<extra></extra>" });
      legend.push(["smoothed", this.colour.text]);
    }
    this.legend("frequencies", legend, shares ? "step " + frame.step + "; dashed: even" : "");
    const even = 1 / names.length, tallest = Math.max(2 * even, ...traces.flatMap((trace) => trace.y));
    const shapes = [{ type: "line", x0: 0, x1: 1, xref: "paper", y0: even, y1: even, line: { color: this.colour.text, width: 1.2, dash: "dash" } }];
    const layout = this.layout({ shapes, hovermode: "x", margin: { l: 40, r: 6, t: 6, b: this.classMargin }, xaxis: this.classAxis("the teacher's class"), yaxis: { range: [0, 1.08 * tallest], tickformat: ".0%" } });
    this.plot("frequencies", traces, layout, "Shares of the classes that the generator made, raw and smoothed" + (frame ? " at step " + frame.step : ""));
  }

  terms() {
    const names = this.data.terms.filter((name) => this.data.curves["share/" + name]);
    const [judge, maker] = [names.filter((name) => OF_DISCRIMINATOR.includes(name)), names.filter((name) => !OF_DISCRIMINATOR.includes(name))];
    // DeGAN's discriminator has one term, which it does not weigh against others.
    if (!judge.length && this.data.curves.adversarial_d) judge.push("adversarial_d");
    for (const [panel, mine] of [["judge-terms", judge], ["maker-terms", maker]]) {
      this.toggles(panel, mine);
      const traces = mine.filter((name) => !this.hidden.has(name)).map((name) => ({ ...this.cut(this.data.curves[name]), name: title(name), mode: "lines", line: { color: this.colourOf(name), width: 1.6 }, hovertemplate: "%{y:.3g}" }));
      this.plot(panel, traces, this.layout({ shapes: this.marks(), xaxis: this.steps("gan") }), "Loss terms over training steps: " + mine.map(title).join(", "));
    }
  }

  colourOf(name) {
    const order = this.data.terms.filter((one) => this.data.curves["share/" + one] || one === "adversarial_d");
    return this.palette[order.indexOf(name) % this.palette.length];
  }

  // A legend whose entries switch their curves off and on.
  toggles(panel, names) {
    const box = this.at(panel).querySelector("h4 span"), key = JSON.stringify([names, [...this.hidden], this.theme]);
    if (box.dataset.key === key) return;
    box.dataset.key = key;
    box.replaceChildren(...names.map((name) => {
      const swatch = element("s", { className: "box" });
      swatch.style.color = this.colourOf(name);
      const chip = element("button", { className: "dfkd-chip", "aria-pressed": String(!this.hidden.has(name)), title: "Show or hide this term" }, swatch, title(name));
      chip.addEventListener("click", () => { this.hidden.has(name) ? this.hidden.delete(name) : this.hidden.add(name); this.draw(); });
      return chip;
    }));
  }

  // Two networks, two sums of 100 %.
  health() {
    const names = this.data.terms.filter((name) => this.data.curves["share/" + name]);
    const groups = [["discriminator", names.filter((name) => OF_DISCRIMINATOR.includes(name))], ["generator", names.filter((name) => !OF_DISCRIMINATOR.includes(name))]].filter(([, mine]) => mine.length);
    const layout = this.layout({ xaxis: this.steps("gan") }), height = (1 - 0.08 * (groups.length - 1)) / Math.max(1, groups.length);
    layout.annotations = [];
    const traces = groups.flatMap(([who, mine], index) => {
      const axis = index ? "y" + (index + 1) : "y", top = 1 - index * (height + 0.08);
      layout[index ? "yaxis" + (index + 1) : "yaxis"] = { ...layout.yaxis, domain: [Math.max(0, top - height), top], range: [0, 1], tickformat: ".0%", nticks: 3 };
      layout.annotations.push({ text: who, x: 0.01, y: top - 0.01, xref: "paper", yref: "paper", xanchor: "left", yanchor: "top", showarrow: false, font: { color: this.colour.text }, bgcolor: this.colour.panel });
      return mine.map((name) => ({ ...this.cut(this.data.curves["share/" + name]), name: title(name), yaxis: axis, mode: "lines", stackgroup: who, line: { width: 0.5, color: this.colourOf(name) }, hovertemplate: "%{y:.0%}" }));
    });
    layout.xaxis.anchor = groups.length > 1 ? "y2" : "y";
    this.legend("health", [], "shares of each network's gradient");
    this.plot("health", traces, layout, "Shares of the gradient by term over training steps, of the discriminator and of the generator");
  }

  spread() {
    const lines = [["coverage", "classes", this.palette[0]], ["diversity", "diversity", this.palette[3]]];
    this.legend("spread", lines.map(([, label, color]) => [label, color]), "of what the generator makes");
    const traces = lines.filter(([name]) => this.data.curves[name]).map(([name, label, color]) => ({ ...this.cut(this.data.curves[name]), name: label, mode: "lines", line: { color, width: 2 }, hovertemplate: "%{y:.0%}" }));
    this.plot("spread", traces, this.layout({ shapes: this.marks(), xaxis: this.steps("gan"), yaxis: { range: [0, 1.02], tickformat: ".0%" } }), "Classes covered and diversity over training steps");
  }

  // --- hybrid set ---

  share(inflation) {
    const { collected, synthetic } = this.data.mix;
    return (inflation * collected) / (inflation * collected + synthetic);
  }

  mix() {
    const mix = this.data.mix, box = this.at("mix");
    if (!mix) return;
    const number = (value) => value.toLocaleString("en");
    const bar = (words, inflation) => {
      const alpha = this.share(inflation), real = element("i", { className: "collected" }), made = element("i", { className: "made" });
      real.style.flexGrow = alpha;
      made.style.flexGrow = 1 - alpha;
      return element("div", { className: "dfkd-blend" }, element("div", {}, words, element("b", {}, "α " + alpha.toFixed(2))), element("div", { className: "dfkd-blend-bar", role: "img", "aria-label": whole(alpha) + " collected" }, real, made));
    };
    this.legend("inflation", [["collected", this.colour.real, "box"], ["synthetic", this.made, "box"]]);
    box.replaceChildren(
      bar(`${number(mix.collected)} collected, ${number(mix.synthetic)} synthetic`, 1),
      bar(`each collected image N = ${number(mix.inflation)} ${mix.inflation === 1 ? "time" : "times"}: ${number(mix.inflation * mix.collected)}`, mix.inflation),
      element("p", {}, "α is the share of collected images in what the student learns from. " + (mix.collected > mix.synthetic
        ? "There are more collected than synthetic images: no inflation is needed." : `N = ⌊${number(mix.synthetic)} / ${number(mix.collected)}⌋ = ${number(mix.usual)} makes both parts about alike.`)),
    );
  }

  bound() {
    const mix = this.data.mix;
    if (!mix) return;
    const found = this.data.distance, scale = found?.tvd ?? 1, far = Math.max(2 * mix.inflation, FARTHEST);
    const x = Array.from({ length: Math.min(far, 240) + 1 }, (_, index, all = Math.min(far, 240)) => (index * far) / all);
    const lines = [
      ["the paper's bound on TVD(U, Q): (2 − α) TVD(P, Q)", "bound", (alpha) => (2 - alpha) * scale, this.colour.text, "dash"],
      ["TVD(U, Q) = α TVD(P, Q)", "from the synthetic", (alpha) => alpha * scale, this.made, "solid"],
      ["TVD(U, P) = (1 − α) TVD(P, Q)", "from the collected", (alpha) => (1 - alpha) * scale, this.colour.real, "solid"],
    ];
    const traces = lines.map(([, name, value, color, dash]) => ({ x, y: x.map((n) => value(this.share(n))), name, mode: "lines", line: { color, dash, width: 2.4 }, hovertemplate: "%{y:.2f}" }));
    const now = this.share(mix.inflation);
    traces.push({ x: lines.map(() => mix.inflation), y: lines.map(([, , value]) => value(now)), mode: "markers", marker: { size: 9, color: lines.map(([, , , color]) => color) }, hoverinfo: "skip" });
    const shapes = [{ type: "line", x0: mix.inflation, x1: mix.inflation, y0: 0, y1: 1, yref: "paper", line: { color: this.colour.text, width: 1, dash: "dot" } }];
    const annotations = [{ x: mix.inflation, y: 1, yref: "paper", yanchor: "top", xanchor: "left", text: " N = " + mix.inflation.toLocaleString("en"), showarrow: false, font: { color: this.colour.text, size: 12 } }];
    legend(this.at("bound").querySelector("h4 span"), lines.map(([name, , , color, dash]) => [name, color, dash === "dash" ? "dash" : "line"]));
    const words = found ? "total variation, if TVD(P, Q) = " + found.tvd.toFixed(2) : "in units of TVD(P, Q)";
    this.plot("bound", traces, this.layout({ shapes, annotations, xaxis: { range: [0, far], title: { text: "inflation factor N", standoff: 2, font: { size: 12 } } }, yaxis: { range: [0, 2.15 * scale], title: { text: words, standoff: 4, font: { size: 12 } } } }), "The paper's bound and the two exact distances over the inflation factor");
  }

  estimate() {
    const { job, distance: found, measurable } = this.data, button = this.at("apart"), words = this.at("estimate").querySelector("span");
    const running = job.state === "running";
    button.textContent = running ? "Stop" : found ? "Estimate again" : "Estimate TVD(P, Q)";
    button.disabled = !running && !measurable;
    if (running) words.textContent = `${job.message}: ${whole(job.share)}` + (job.left == null ? "" : ", " + duration(job.left) + " left");
    else if (job.state === "failed") words.textContent = job.message;
    else if (found) {
      const chance = found.above_chance ? "above chance" : "not above chance: they cannot be told apart";
      words.textContent = `TVD(P, Q) is ${found.low.toFixed(2)} or more: ${found.tvd.toFixed(2)} [${found.low.toFixed(2)}, ${found.high.toFixed(2)}] as this classifier sees it, ${chance}. A classifier on the teacher's features tells ${whole(found.accuracy)} of ${found.images.toLocaleString("en")} + ${found.images.toLocaleString("en")} images apart (generator of step ${Math.min(found.step, this.border)}).`;
    } else words.textContent = measurable ? "By a classifier that tells collected from synthetic images: a bound from below." : "Can be estimated once the GAN has learned.";
  }

  // --- student ---

  loss() {
    this.legend("loss", [["student loss", this.colour.student]], "logarithmic");
    const curve = { ...this.cut(this.data.curves.student_loss), name: "student loss", mode: "lines", line: { color: this.colour.student, width: 1.8 }, hovertemplate: "%{y:.4g}" };
    this.plot("loss", [curve], this.layout({ shapes: this.marks(), xaxis: this.steps(), yaxis: { type: "log", nticks: 5 } }), "Student loss over training steps");
  }

  batch(frame) {
    const box = this.at("batch").querySelector(".dfkd-sheet");
    if (!frame) {
      this.legend("batch", []);
      return box.replaceChildren(element("div", { className: "dfkd-empty" }, this.part === "gan" ? "The student does not learn yet." : "The first images appear after the first step."));
    }
    const own = frame.collected, count = own?.filter(Boolean).length;
    if (own) this.legend("batch", [["collected", this.colour.real, "box"], ["synthetic", this.made, "box"]], `${count} + ${own.length - count}, step ${frame.step}`);
    else this.legend("batch", [], "step " + frame.step);
    const sheet = pngImage(frame.sheet);
    sheet.onload = () => {
      if (this.drawn["student sheet"] !== frame.step) return;
      const across = Math.max(1, Math.floor(sheet.width / frame.width)), scrolled = box.scrollTop;
      box.replaceChildren(...frame.label.map((label, index) => {
        const kind = own ? (own[index] ? "collected" : "made") : "plain";
        const spoken = `${own ? (own[index] ? "collected, " : "synthetic, ") : ""}the teacher says ${this.named(label)} with ${whole(frame.confidence[index])}, the student ${this.named(frame.student_label[index])}`;
        const picture = this.picture(sheet, frame.width, frame.height, (index % across) * frame.width, Math.floor(index / across) * frame.height, kind, spoken);
        return element("div", { className: "dfkd-tile" }, picture, element("b", {}, this.named(label)), frame.student_label[index] === label ? "" : " ≠ " + this.named(frame.student_label[index]));
      }));
      box.scrollTop = scrolled;
    };
  }

  colours() {
    super.colours();
    this.made = this.palette[6];
    this.root.style.setProperty("--made", this.made);
  }
}

// A running mean over the `span` steps before.
function smoothed({ x, y }, span) {
  let sum = 0, from = 0;
  const means = y.map((value, index) => {
    sum += value;
    while (x[from] <= x[index] - Math.max(1, span)) sum -= y[from++];
    return sum / (index - from + 1);
  });
  return { x, y: means };
}

const transparent = (hex, opacity) => `rgba(${channels(hex).join()},${opacity})`;

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const host = parentElement.querySelector(".dfkd-host") || parentElement;
  if (!host.dfkdStage) host.dfkdStage = new Hybrid(host);
  host.dfkdStage.update(data, setStateValue);
}
