// FID against the intensity of the class prior, what may explain it beside it, and the images of the run under the
// pointer beside those without the prior. Images are asked for once; looking around needs no rerun of the page.

import { element, legend, options } from "../web/dom.js";
import { mounting } from "../web/mount.js";
import { grouped } from "../web/numbers.js";
import { band, marks, rule, TEXT, titled } from "../web/plot.js";
import { Questions } from "../web/questions.js";
import { placesOf, Sheet } from "../web/sheet.js";
import { faint } from "../web/theme.js";
import { CHART, Experiment } from "./experiment.js";

const ACROSS = 5, DOWN = 5, MOST_TICKS = 11;

// Small charts: heading, what it means, series [figure, words, colour, decoration], the axis, and a note.
const SHARE = { range: [0, 1.05], tickformat: ".0%" };
const SMALL = {
  balance: [
    "Class balance", "Exponential of the entropy of the classes' shares over their number; 1: all classes alike",
    [["class_balance", "", "student"]], { range: [0, 1.05] }, "1: all classes alike",
  ],
  diversity: [
    "Within-class diversity", "Mean distance of two images of a class in the extractor's features",
    [["diversity", "generated", "student"], ["real_diversity", "real", "real", "dash"]], { rangemode: "tozero" },
  ],
  fidelity: [],
  student: [
    "Student", "Accuracy on test images after the last step; dashed: the teacher's",
    [["final", "final", "student"], ["teacher", "teacher", "teacher", "dash"]], SHARE,
  ],
  kept: [
    "Share kept", "By the mixture, mean over the last tenth of the run", [["kept", "", "clean"]], SHARE,
    "by the mixture, at the end",
  ],
};
// One of them can be chosen.
const FIDELITY = {
  density: [
    "Density and coverage", "Naeem et al. 2020, k = 5",
    [["density", "density", "student"], ["coverage", "coverage", "clean"]], { rangemode: "tozero" },
  ],
  precision: [
    "Precision and recall", "Kynkäänniemi et al. 2019, k = 3",
    [["precision", "precision", "student"], ["recall", "recall", "clean"]], { rangemode: "tozero" },
  ],
};
const SHARES = ["final", "teacher", "kept"]; // figures that read as percentages

const LEFT = 0.01; // of the images: fewer of a class are none
const smallChart = (name) => `<section class="exp-panel prior-small prior-${name}"><h4></h4>${CHART}</section>`;
const FIGURE = `<figure><canvas role="img"></canvas><figcaption></figcaption></figure>`;
const SKELETON = `
  <div class="prior-grid">
    <section class="exp-panel prior-fid"><h4>FID<span></span></h4>${CHART}
      <div class="exp-empty">The first point appears when the first run is trained and measured.</div></section>
    <section class="exp-panel prior-images">
      <h4>Images of class <select class="prior-class" aria-label="Class of the images"></select><span>the first that
        came, nobody picked them</span></h4>
      <div class="prior-pair">${FIGURE}${FIGURE}</div>
      <div class="prior-choose"><label>λ <input type="range" min="0" step="1" aria-label="Intensity looked at"></label>
        <label>seed <select class="prior-seed" aria-label="Seed looked at"></select></label>
        <span class="prior-links"></span></div>
    </section>
    ${Object.keys(SMALL).map(smallChart).join("")}
  </div>`;

class Prior extends Experiment {
  constructor(host) {
    super(host, "prior", SKELETON);
    this.sheets = new Map();
    this.questions = new Questions(this.root, () => ({ of: this.data.study }));
    this.fidelity = "density";
    this.slider = this.at(".prior-choose input");
    this.slider.addEventListener("input", () => this.look(this.data.intensities[Number(this.slider.value)], this.seed));
    const choose = (name, act) => this.at(name).addEventListener("change", ({ target }) => act(Number(target.value)));
    choose(".prior-seed", (seed) => this.look(this.intensity, seed));
    choose(".prior-class", (label) => { Object.assign(this, { label, named: true }); this.images(); });
    new ResizeObserver(() => this.images()).observe(this.at(".prior-images"));
  }

  asOf(data, share) {
    const come = data.cells.slice(0, Math.floor(share * data.cells.length)).filter(({ key }) => data.figures[key]);
    return { ...data, figures: Object.fromEntries(come.map(({ key }) => [key, data.figures[key]])) };
  }

  update(data, setStateValue) {
    if (this.data?.study !== data.study) {
      this.sheets.forEach((sheet) => sheet?.close());
      this.sheets.clear();
    }
    for (const [key, item] of Object.entries(data.sheets)) {
      if (this.sheets.get(key)) continue;
      const sheet = item && new Sheet(item);
      sheet?.decoded.then(() => this.images());
      this.sheets.set(key, sheet);
    }
    super.update(data);
    this.questions.answered(data, Object.keys(data.sheets), setStateValue);
  }

  // Another study.
  begin() {
    const { intensities, classes, seeds } = this.data;
    this.questions.begin();
    this.label = 0;
    this.chosen = this.named = false;
    this.slider.max = intensities.length - 1;
    const names = classes.length ? classes : [...Array(10).keys()];
    options(this.at(".prior-class"), names.map((name, label) => [label, name]));
    options(this.at(".prior-seed"), seeds);
  }

  rows() { return super.rows(this.data.seeds); }
  nameOf({ intensity, seed }) { return `λ = ${intensity}, seed ${seed}`; }
  cell(intensity, seed) { return this.data.cells.find((cell) => cell.intensity === intensity && cell.seed === seed); }
  get without() { return this.data.intensities[0]; }
  get className() { return this.at(".prior-class").selectedOptions[0]?.textContent ?? this.label; }

  draw() {
    const { figures } = this.data, done = Object.keys(figures);
    done.filter((key) => !this.sheets.has(key)).forEach((key) => this.questions.want(key));
    if (!this.chosen) this.lookAtStrongest();
    this.once([this.chosen || this.intensity, done, this.fidelity], () => this.charts());
    this.root.dataset.points = done.length;
    this.at(".prior-fid .exp-empty").hidden = done.length > 0;
    this.images();
  }

  // Whoever only watches sees the strongest prior that is there, and of its classes one that it has left.
  lookAtStrongest() {
    const { cells, figures, seeds } = this.data;
    const done = cells.filter((cell) => figures[cell.key]);
    this.seed = done[0]?.seed ?? seeds[0];
    const known = done.filter((cell) => cell.seed === this.seed).map((cell) => cell.intensity);
    this.intensity = known.length ? Math.max(...known) : this.without;
    const { counts, samples } = figures[this.cell(this.intensity, this.seed)?.key] ?? {};
    if (this.named || !counts || counts[this.label] >= LEFT * samples) return;
    this.at(".prior-class").value = this.label = counts.indexOf(Math.max(...counts));
  }

  look(intensity, seed) {
    this.chosen = true;
    if (intensity === this.intensity && seed === this.seed) return;
    Object.assign(this, { intensity, seed });
    this.root.querySelectorAll(".exp-plot").forEach((node) => this.ring(node));
    this.images();
  }

  // --- images ---

  images() {
    if (!this.data || this.intensity == null) return;
    const { intensities } = this.data, { intensity, seed, label, without } = this;
    const [left, right] = this.root.querySelectorAll(".prior-pair figure");
    this.slider.value = intensities.indexOf(intensity);
    this.slider.setAttribute("aria-valuetext", "λ = " + intensity);
    this.at(".prior-seed").value = seed;
    this.side(left, without, without === 0 ? "without the prior (λ = 0)" : `λ = ${without}, the weakest prior`);
    this.side(right, intensity, "λ = " + intensity);
    const { run } = this.cell(intensity, seed);
    this.at(".prior-links").replaceChildren(...(run ? ["run: ", ...this.links(run)] : []));
    Object.assign(this.root.dataset, { intensity, seed, label });
  }

  side(figure, intensity, heading) {
    const cell = this.cell(intensity, this.seed), figures = this.data.figures[cell.key];
    const none = cell.state === "failed" ? "this run failed" : "not measured yet";
    const count = figures && `${grouped(figures.counts[this.label])} of ${grouped(figures.samples)}`;
    const words = figures ? `${count} labelled ${this.className}` : none;
    figure.querySelector("figcaption").replaceChildren(element("b", heading), element("br"), words);
    const sheet = this.sheets.get(cell.key), ready = sheet?.ready && figures;
    const { width, height } = ready ? sheet : { width: 8, height: 8 };
    const canvas = figure.querySelector("canvas");
    Object.assign(canvas, { width: ACROSS * (width + 1) - 1, height: DOWN * (height + 1) - 1 }); // also empties it
    canvas.setAttribute("aria-label", `Class ${this.className}, ${heading}, ${words}`);
    const chosen = ready ? placesOf(sheet.label, this.label).slice(0, ACROSS * DOWN) : [];
    const context = canvas.getContext("2d");
    chosen.forEach((index, place) =>
      sheet.paint(context, index, (place % ACROSS) * (width + 1), Math.floor(place / ACROSS) * (height + 1)),
    );
    canvas.dataset.shown = chosen.length;
  }

  // --- charts ---

  charts() {
    const { student } = this.theme, fid = this.at(".prior-fid");
    const means = [["mean over seeds", student], ["least to greatest", student, "faint"]];
    legend(fid.querySelector("h4 span"), [["a run", student, "point"], ...means]);
    const title = titled(this.data.label.replace(", n = ", ",<br>n = "), 8);
    this.chart(fid, [["fid", "", "student"]], { ...title, rangemode: "tozero" }, { l: 66, b: 44 });
    for (const name of Object.keys(SMALL)) {
      const [words, help, series, axis, note] = name === "fidelity" ? FIDELITY[this.fidelity] : SMALL[name];
      const panel = this.at(".prior-" + name);
      panel.title = help;
      this.heading(panel.querySelector("h4"), name === "fidelity" ? this.chooser() : words, series, note);
      this.chart(panel, series, axis, {});
    }
  }

  heading(box, words, series, note = "") {
    const span = element("span");
    box.replaceChildren(words, span);
    const named = series.filter(([, label]) => label);
    legend(span, named.map(([, label, colour, dash]) => [label, this.theme[colour], dash]), note);
  }

  chooser() {
    const select = element("select", { "aria-label": "Which pair of figures" });
    const titles = Object.entries(FIDELITY).map(([key, [title]]) => [key, title]);
    options(select, titles, (key) => { this.fidelity = key; this.draw(); });
    return Object.assign(select, { value: this.fidelity });
  }

  chart(panel, series, axis, margin) {
    const { intensities } = this.data, node = panel.querySelector(".exp-plot");
    const big = panel.classList.contains("prior-fid");
    const traces = series.flatMap((one) => (one[3] ? [this.level(one)] : this.runs(one, big)));
    const ring = { size: big ? 17 : 13, color: "rgba(0,0,0,0)", line: { width: 2, color: this.theme.text } };
    traces.push(marks([], ring, [], { hoverinfo: "skip", hovertemplate: "" }));
    const xaxis = { ...titled(big ? "intensity λ of the class prior" : "λ", big ? 2 : 0), range: this.range() };
    const all = intensities.length <= MOST_TICKS;
    if (!big || all) xaxis.tickvals = big ? intensities : [intensities[0], intensities.at(-1)];
    const yaxis = { nticks: big ? 8 : 5, ...axis };
    const layout = { xaxis, yaxis, margin: { l: 40, r: 10, t: 8, b: 30, ...margin } };
    const words = series.map(([name, label]) => label || name.replaceAll("_", " ")).join(" and ");
    const drawn = this.plot(node, traces, layout, words + " against the intensity of the class prior");
    if (!drawn) return;
    node.ring = [traces.length - 1, series.filter(([, , , dash]) => !dash).map(([name]) => name)];
    drawn.then(() => this.ring(node));
    if (node.hears) return;
    node.hears = true;
    const hear = ({ points }) => points[0]?.customdata && this.look(...points[0].customdata);
    node.on("plotly_hover", hear);
    node.on("plotly_click", hear);
  }

  range() {
    const { intensities } = this.data, edge = 0.06 * (intensities.at(-1) - intensities[0]);
    return [intensities[0] - edge, intensities.at(-1) + edge];
  }

  // The runs that have a figure, by intensity, and their values of it.
  values(name) {
    const { intensities, cells, figures } = this.data, value = (cell) => figures[cell.key]?.[name];
    const places = intensities.map((intensity) => {
      const own = cells.filter((cell) => cell.intensity === intensity && value(cell) != null);
      return { intensity, cells: own, values: own.map(value) };
    });
    return places.filter(({ values }) => values.length);
  }

  // The runs as points, their mean, and a band from the least to the greatest.
  runs([name, label, colour], big) {
    const found = this.values(name), cells = found.flatMap((one) => one.cells);
    const [color, x] = [this.theme[colour], found.map(({ intensity }) => intensity)];
    const each = (act) => found.map(({ values }) => act(values));
    const mean = each((values) => values.reduce((sum, value) => sum + value, 0) / values.length);
    const value = `${label ? label + " " : ""}%{y:${SHARES.includes(name) ? ".1%" : ".3g"}}`;
    const places = cells.map((cell) => [cell.intensity, this.data.figures[cell.key][name]]);
    return [
      ...band(x, each((values) => Math.min(...values)), each((values) => Math.max(...values)), faint(color, 0.18)),
      rule(x, mean, color, "solid", big ? 3 : 2),
      marks(places, { color, size: big ? 8 : 6, opacity: 0.85 }, cells.map((cell) => this.nameOf(cell)), {
        customdata: cells.map((cell) => [cell.intensity, cell.seed]), hovertemplate: value + "<br>" + TEXT,
      }),
    ];
  }

  // What hardly differs between runs: the teacher, real images.
  level([name, , colour, dash]) {
    const [first] = this.values(name);
    return rule(first ? this.range() : [], first ? Array(2).fill(first.values[0]) : [], this.theme[colour], dash);
  }

  // Around the points of the run that is looked at.
  ring(node) {
    if (!node.ring) return;
    const figures = this.data.figures[this.cell(this.intensity, this.seed)?.key];
    const [trace, names] = node.ring;
    const y = names.map((name) => figures?.[name]).filter((value) => value != null);
    this.plots.move(node, trace, y.map(() => this.intensity), y);
  }
}

export default mounting(Prior);
