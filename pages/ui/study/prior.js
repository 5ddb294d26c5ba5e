// FID against the intensity of the class prior, what may explain it beside it, and the images of the run under the
// pointer beside those without the prior. Images are asked for once; looking around needs no rerun of the page.

const SHEET_COLUMNS = 16, ACROSS = 5, DOWN = 5, ASK_AT_ONCE = 8, ASK_AGAIN_MS = 4000;

// Small charts: heading, what it means, series [figure, words, colour, decoration], the axis, and a note.
const SMALL = {
  balance: ["Class balance", "Exponential of the entropy of the classes' shares over their number; 1: all classes alike",
    [["class_balance", "", "student"]], { range: [0, 1.05] }, "1: all classes alike"],
  diversity: ["Within-class diversity", "Mean distance of two images of a class in the extractor's features",
    [["diversity", "generated", "student"], ["real_diversity", "real", "real", "dash"]], { rangemode: "tozero" }],
  fidelity: ["", "", [], { rangemode: "tozero" }],
  student: ["Student", "Accuracy on test images after the last step; dashed: the teacher's",
    [["final", "final", "student"], ["teacher", "teacher", "teacher", "dash"]], { range: [0, 1.05], tickformat: ".0%" }],
  kept: ["Share kept", "By the mixture, mean over the last tenth of the run",
    [["kept", "", "clean"]], { range: [0, 1.05], tickformat: ".0%" }, "by the mixture, at the end"],
};
const FIDELITY = {
  density: ["Density and coverage", "Naeem et al. 2020, k = 5", [["density", "density", "student"], ["coverage", "coverage", "clean"]]],
  precision: ["Precision and recall", "Kynkäänniemi et al. 2019, k = 3", [["precision", "precision", "student"], ["recall", "recall", "clean"]]],
};

const PRIOR_SKELETON = `
  <div class="prior-grid">
    <section class="exp-panel prior-fid"><h4>FID<span></span></h4><div class="exp-plot" role="img"></div>
      <div class="exp-empty">The first point appears when the first run is trained and measured.</div></section>
    <section class="exp-panel prior-images">
      <h4>Images of class <select class="prior-class" aria-label="Class of the images"></select><span>the first that came, nobody picked them</span></h4>
      <div class="prior-pair">
        <figure><canvas role="img"></canvas><figcaption></figcaption></figure>
        <figure><canvas role="img"></canvas><figcaption></figcaption></figure></div>
      <div class="prior-choose"><label>λ <input type="range" min="0" step="1" aria-label="Intensity looked at"></label>
        <label>seed <select class="prior-seed" aria-label="Seed looked at"></select></label>
        <span class="prior-links"></span></div>
    </section>
    ${Object.keys(SMALL).map((name) => `<section class="exp-panel prior-small prior-${name}"><h4></h4><div class="exp-plot" role="img"></div></section>`).join("")}
  </div>`;

class Prior extends Experiment {
  constructor(host) {
    super(host, "prior", PRIOR_SKELETON);
    this.pictures = new Map();
    this.asked = new Map();
    this.fidelity = "density";
    this.at(".prior-class").addEventListener("change", (event) => { this.label = Number(event.target.value); this.images(); });
    this.at(".prior-seed").addEventListener("change", (event) => this.look(this.intensity, Number(event.target.value)));
    this.slider = this.at(".prior-choose input");
    this.slider.addEventListener("input", () => this.look(this.data.intensities[Number(this.slider.value)], this.seed));
    new ResizeObserver(() => this.images()).observe(this.at(".prior-images"));
  }

  // Another study.
  begin() {
    const d = this.data;
    this.pictures.clear();
    this.asked.clear();
    this.label = 0;
    this.chosen = false;
    this.slider.max = d.intensities.length - 1;
    const names = d.classes.length ? d.classes : Array.from({ length: 10 }, (_, index) => String(index));
    this.at(".prior-class").replaceChildren(...names.map((name, index) => element("option", { value: index }, name)));
    this.at(".prior-seed").replaceChildren(...d.seeds.map((seed) => element("option", { value: seed }, String(seed))));
  }

  rows() { return this.data.seeds.map((seed) => this.data.cells.filter((cell) => cell.seed === seed)); }
  nameOf(cell) { return "λ = " + cell.intensity + ", seed " + cell.seed; }
  cell(intensity, seed) { return this.data.cells.find((cell) => cell.intensity === intensity && cell.seed === seed); }
  get without() { return this.data.intensities[0]; }

  draw() {
    const d = this.data;
    for (const [key, sheet] of Object.entries(d.sheets)) this.pictures.set(key, sheet && { ...sheet, image: this.picture(sheet) });
    this.ask();
    if (!this.chosen) { // whoever only watches sees the strongest prior that is there
      const done = d.cells.filter((cell) => d.figures[cell.key]);
      this.seed = done.length ? done[0].seed : d.seeds[0];
      this.intensity = Math.max(...(done.length ? done.filter((cell) => cell.seed === this.seed).map((cell) => cell.intensity) : [this.without]));
    }
    const drawn = JSON.stringify([d.study, this.chosen || this.intensity, Object.keys(d.figures), this.theme.background, this.fidelity, !this.plotly, this.root.clientWidth > 1350]);
    if (this.drawn !== drawn) {
      this.drawn = drawn;
      this.charts();
    }
    this.root.dataset.points = Object.keys(d.figures).length;
    this.at(".prior-fid .exp-empty").hidden = Object.keys(d.figures).length > 0;
    this.images();
  }

  // --- images ---

  picture(sheet) {
    const image = pngImage(sheet.sheet);
    image.onload = () => this.images();
    return image;
  }

  ask() {
    const now = Date.now();
    const missing = Object.keys(this.data.figures)
      .filter((key) => !this.pictures.has(key) && now - (this.asked.get(key) || 0) > ASK_AGAIN_MS).slice(0, ASK_AT_ONCE);
    if (!missing.length) return;
    missing.forEach((key) => this.asked.set(key, now));
    this.nonce += 1;
    this.setStateValue("ask", { study: this.data.study, nonce: this.nonce + "/" + now, want: missing });
  }

  look(intensity, seed) {
    this.chosen = true;
    if (intensity === this.intensity && seed === this.seed) return;
    this.intensity = intensity;
    this.seed = seed;
    this.ring();
    this.images();
  }

  images() {
    if (!this.data || this.intensity == null) return;
    const d = this.data, [left, right] = this.root.querySelectorAll(".prior-pair figure");
    this.slider.value = d.intensities.indexOf(this.intensity);
    this.slider.setAttribute("aria-valuetext", "λ = " + this.intensity);
    this.at(".prior-seed").value = this.seed;
    this.side(left, this.without, this.without === 0 ? "without the prior (λ = 0)" : "λ = " + this.without + ", the weakest prior");
    this.side(right, this.intensity, "λ = " + this.intensity);
    const cell = this.cell(this.intensity, this.seed);
    const link = (words, href) => element("a", { href, target: "_blank", rel: "noopener" }, words);
    this.at(".prior-links").replaceChildren(...(cell.run ? ["run: ", link("Distill", this.distill(cell.run)), " · ", link("Inspect", this.inspect(cell.run))] : []));
    Object.assign(this.root.dataset, { intensity: this.intensity, seed: this.seed, label: this.label });
  }

  side(figure, intensity, heading) {
    const cell = this.cell(intensity, this.seed), figures = this.data.figures[cell.key], picture = this.pictures.get(cell.key);
    const canvas = figure.querySelector("canvas"), words = [heading];
    if (figures) words.push(figures.counts[this.label].toLocaleString("en") + " of " + figures.samples.toLocaleString("en") + " labelled " + this.name());
    else words.push(cell.state === "failed" ? "this run failed" : "not measured yet");
    const [first, ...rest] = words;
    figure.querySelector("figcaption").replaceChildren(element("b", {}, first), element("br"), rest.join(""));
    const ready = picture && picture.image.complete && figures;
    const { width, height } = ready ? picture : { width: 8, height: 8 };
    Object.assign(canvas, { width: ACROSS * (width + 1) - 1, height: DOWN * (height + 1) - 1 }); // also empties it
    canvas.setAttribute("aria-label", "Class " + this.name() + ", " + words.join(", "));
    canvas.dataset.shown = 0;
    if (!ready) return;
    const chosen = picture.label.flatMap((label, index) => (label === this.label ? [index] : [])).slice(0, ACROSS * DOWN);
    const context = canvas.getContext("2d");
    chosen.forEach((index, place) => context.drawImage(
      picture.image, (index % SHEET_COLUMNS) * width, Math.floor(index / SHEET_COLUMNS) * height, width, height,
      (place % ACROSS) * (width + 1), Math.floor(place / ACROSS) * (height + 1), width, height,
    ));
    canvas.dataset.shown = chosen.length;
  }

  name() { return this.at(".prior-class").selectedOptions[0]?.textContent ?? this.label; }

  // --- charts ---

  charts() {
    const [heading, ...about] = this.data.label.split(" in ");
    const fid = this.at(".prior-fid"), series = [["fid", "", "student"]];
    legend(fid.querySelector("h4 span"), [["a run", this.theme.student, "point"], ["mean over seeds", this.theme.student], ["least to greatest", this.theme.student, "faint"]]);
    const title = heading + (about.length ? " in " + about.join(" in ").replace(", n = ", ",<br>n = ") : "");
    this.chart(fid, series, { rangemode: "tozero", title: { text: title, standoff: 8, font: { size: 12 } } }, { l: 66, b: 44 });
    for (const name of Object.keys(SMALL)) {
      const [words, help, shown, axis, aside] = name === "fidelity" ? [...FIDELITY[this.fidelity], SMALL.fidelity[3]] : SMALL[name];
      const panel = this.at(".prior-" + name), box = panel.querySelector("h4");
      panel.title = help;
      this.heading(box, name, words, shown, aside);
      this.chart(panel, shown, axis, {});
    }
  }

  heading(box, name, words, shown, aside = "") {
    const note = element("span");
    if (name !== "fidelity") box.replaceChildren(words, note);
    else {
      const select = element("select", { "aria-label": "Which pair of figures" });
      choices(select, Object.fromEntries(Object.entries(FIDELITY).map(([key, [title]]) => [key, title])), (key) => { this.fidelity = key; this.draw(); });
      select.value = this.fidelity;
      box.replaceChildren(select, note);
    }
    const named = shown.filter(([, label]) => label).map(([, label, colour, dash]) => [label, this.theme[colour], dash || ""]);
    legend(note, named, aside);
  }

  chart(panel, series, axis, margin) {
    const d = this.data, node = panel.querySelector(".exp-plot"), big = panel.classList.contains("prior-fid");
    const traces = series.flatMap(([name, label, colour, dash]) => (dash ? [this.line(name, label, colour, dash)] : this.band(name, label, colour, big)));
    traces.push({ x: [], y: [], mode: "markers", cliponaxis: false, hoverinfo: "skip", marker: { size: big ? 17 : 13, color: "rgba(0,0,0,0)", line: { width: 2, color: this.theme.text } } });
    const ticks = big && d.intensities.length <= 11 ? d.intensities : [d.intensities[0], d.intensities[d.intensities.length - 1]];
    const xaxis = {
      range: this.range(), title: { text: big ? "intensity λ of the class prior" : "λ", standoff: big ? 2 : 0, font: { size: 12 } },
      ...(big && d.intensities.length > 11 ? {} : { tickvals: ticks }),
    };
    const layout = this.layout({ xaxis, yaxis: { nticks: big ? 8 : 5, ...axis }, margin: { l: 40, r: 10, t: 8, b: 30, ...margin } });
    const words = series.map(([name, label]) => label || name.replaceAll("_", " ")).join(" and ");
    const drawn = this.plot(node, traces, layout, words + " against the intensity of the class prior");
    if (!drawn) return;
    node.dfkdRing = [traces.length - 1, series.filter(([, , , dash]) => !dash).map(([name]) => name)];
    drawn.then(() => this.ring(node));
    if (!node.dfkdHears) {
      node.dfkdHears = true;
      const hear = ({ points }) => { const about = points[0]?.customdata; if (about) this.look(...about); };
      node.on("plotly_hover", hear);
      node.on("plotly_click", hear);
    }
  }

  range() {
    const values = this.data.intensities, edge = 0.06 * (values[values.length - 1] - values[0]);
    return [values[0] - edge, values[values.length - 1] + edge];
  }

  // The seeds' values at each intensity that has any.
  values(name) {
    return this.data.intensities.map((intensity) => {
      const cells = this.data.cells.filter((cell) => cell.intensity === intensity && this.data.figures[cell.key]?.[name] != null);
      return { intensity, cells, values: cells.map((cell) => this.data.figures[cell.key][name]) };
    }).filter(({ values }) => values.length);
  }

  band(name, label, colour, big) {
    const found = this.values(name), x = found.map(({ intensity }) => intensity), paint = this.theme[colour];
    const edge = { x, mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
    const points = found.flatMap(({ cells }) => cells), form = SMALL.student[2].some(([key]) => key === name) || name === "kept" ? ".1%" : ".3g";
    return [
      { ...edge, y: found.map(({ values }) => Math.min(...values)) },
      { ...edge, y: found.map(({ values }) => Math.max(...values)), fill: "tonexty", fillcolor: faint(paint, 0.18) },
      { x, y: found.map(({ values }) => values.reduce((sum, value) => sum + value, 0) / values.length), mode: "lines", hoverinfo: "skip", line: { color: paint, width: big ? 3 : 2 } },
      { x: points.map((cell) => cell.intensity), y: points.map((cell) => this.data.figures[cell.key][name]), mode: "markers", cliponaxis: false,
        marker: { color: paint, size: big ? 8 : 6, opacity: 0.85 }, customdata: points.map((cell) => [cell.intensity, cell.seed]),
        hovertemplate: (label ? label + " " : "") + "%{y:" + form + "}<br>λ = %{x}, seed %{customdata[1]}<extra></extra>" },
    ];
  }

  // What hardly differs between runs: the teacher, real images.
  line(name, label, colour, dash) {
    const found = this.values(name), mean = found.length ? found[0].values[0] : null;
    return { x: mean == null ? [] : this.range(), y: mean == null ? [] : [mean, mean], mode: "lines", line: { color: this.theme[colour], width: 2, dash }, hoverinfo: "skip" };
  }

  // Around the points of the run that is looked at, in every chart.
  ring(only = null) {
    if (!this.plotly) return;
    const figures = this.data.figures[this.cell(this.intensity, this.seed)?.key];
    for (const node of only ? [only] : this.root.querySelectorAll(".exp-plot")) {
      if (!node.dfkdRing) continue;
      const [index, names] = node.dfkdRing, y = names.map((name) => figures?.[name]).filter((value) => value != null);
      this.plotly.restyle(node, { x: [y.map(() => this.intensity)], y: [y] }, [index]);
    }
  }
}

export default function (component) {
  mount(component, (host) => new Prior(host));
}
