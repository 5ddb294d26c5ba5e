// A grid of teachers × series × seeds: a map that fills in, peaks and ends, curves with bands, what holds across
// teachers, one series against another; and the same without any score of test images.

import { element, legend, once } from "../web/dom.js";
import { mounting } from "../web/mount.js";
import { brief, grouped } from "../web/numbers.js";
import { band, FIGURE, line, margins, marks, PERCENT, rule, titled } from "../web/plot.js";
import { faint } from "../web/theme.js";
import { CHART, Experiment } from "./experiment.js";

const PAINTS = [0, 1, 2, 3, 6, 7, 5, 8, 9]; // of the palette: the one between is the teacher's
const STROKES = ["solid", "dash", "dot", "dashdot", "longdash"];
const PANELS = { map: "Map", strip: "Peaks and ends", curves: "Curves", across: "Across teachers", pair: "Against each other", picks: "Picked without test images" };
const SKELETON = `
  <section class="exp-panel exp-figures grid-map" data-panel="map"><h4></h4>
    <div class="exp-key"></div><div class="grid-scroll" tabindex="0" role="region" aria-label="Map of teachers and methods"></div>
    <p></p></section>
  <section class="exp-panel grid-chosen" data-panel="map" hidden><h4></h4><ul></ul></section>
  <section class="exp-panel grid-plot" data-panel="strip"><h4></h4><div class="exp-key"></div>${CHART}</section>
  <section class="exp-panel grid-plot" data-panel="curves"><h4></h4><div class="exp-key"></div>${CHART}</section>
  <section class="exp-panel grid-plot" data-panel="pair"><h4></h4><div class="exp-key"></div>${CHART}</section>
  <section class="exp-panel exp-figures" data-panel="across"><h4></h4><table><thead></thead><tbody></tbody></table><p></p></section>
  <section class="exp-panel exp-figures" data-panel="picks"><h4></h4><table><thead></thead><tbody></tbody></table><p></p></section>`;

const ofPath = (name) => String(name).replace(/^.*\//, "").replace(/\.json$/, "");

class Grid extends Experiment {
  constructor(host) {
    super(host, "grid", SKELETON);
    this.chosen = "";
  }

  begin() {
    this.chosen = "";
  }

  panel(name) { return this.root.querySelector(`[data-panel="${name}"]`); }
  rows() { return []; } // of squares in the head: they stand in the map
  squares(box) { box.hidden = true; }
  nameOf(cell) { return `${cell.series} from ${ofPath(cell.teacher)}, seed ${cell.seed}`; }
  form(value, digits = 1) { return this.data.is_share ? (100 * value).toFixed(digits) : brief(value); }
  get unit() { return this.data.is_share ? "%" : this.data.measure.toUpperCase(); }
  paint(index) { return this.theme.palette[PAINTS[index % PAINTS.length]]; }
  stroke(index) { return STROKES[Math.floor(index / PAINTS.length) % STROKES.length]; }
  placeOf(teacher, series) { return this.data.places.find((one) => one.teacher === teacher && one.series === series); }
  cellsOf(teacher, series) { return this.data.cells.filter((one) => one.teacher === teacher && one.series === series); }

  draw() {
    const { view } = this.data;
    for (const panel of this.root.querySelectorAll("[data-panel]")) panel.hidden = panel.dataset.panel !== view;
    this.root.dataset.view = view;
    this.detail();
    const [panel] = [this.panel(view)], words = PANELS[view];
    panel.querySelector("h4").textContent = this.data.at ? `${words}, ${this.data.at}` : words;
    if (view === "map") once(this.at(".grid-scroll"), [this.data.cells, this.data.places, this.theme.key, this.chosen], () => this.map());
    else if (view === "across") this.across();
    else if (view === "picks") this.picks();
    else this.once([view, this.data.rows, this.data.curves, this.data.pair, this.data.at], () => this[view](panel));
  }

  // --- the map ---

  map() {
    const { teachers, series, places, blind } = this.data;
    const known = places.map(({ mean }) => mean).filter((mean) => mean != null);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const tone = (mean) => {
      const share = (mean - low) / (high - low || 1);
      return faint(this.hue(), 0.06 + 0.4 * (this.data.lower_is_better ? 1 - share : share));
    };
    const head = [["teacher"], ...series.map((name) => [name])].map(([words]) => element("th", { scope: "col" }, words));
    const lines = teachers.map((teacher) => element("tr",
      element("th", { scope: "row", title: teacher }, ofPath(teacher)),
      series.map((name) => this.field(teacher, name, tone))));
    this.at(".grid-scroll").replaceChildren(element("table", element("thead", element("tr", head)), element("tbody", lines)));
    const key = blind ? "states of the runs; scores of test images are hidden" : `final ${this.data.score}, mean over seeds ± standard deviation, in ${this.unit}; a square is a run`;
    this.at(".grid-map .exp-key").textContent = key;
    this.at(".grid-map > p").textContent = this.data.refused.length
      ? `Cannot be run: ${this.data.refused[0].why}` + (this.data.refused.length > 1 ? ` And ${this.data.refused.length - 1} more.` : "") : "";
  }

  hue() { return this.theme.student; }

  field(teacher, series, tone) {
    const place = this.placeOf(teacher, series), cells = this.cellsOf(teacher, series), key = `${teacher}\n${series}`;
    if (!place) return element("td", "–");
    if (place.cannot) return element("td.grid-cannot", { title: place.why }, "cannot");
    const value = place.mean == null ? "" : this.form(place.mean);
    const spread = place.deviation == null ? null : element("small", ` ± ${this.form(place.deviation)}`);
    const failed = place.failed ? element("small.grid-failed", { title: place.why }, `${place.failed} failed`) : null;
    const about = { title: "Show these runs", "aria-label": `${series} from ${ofPath(teacher)}: ${value || "no score yet"}. Show its runs` };
    const open = element("button.grid-open", about, element("b", value || "·"), spread);
    open.addEventListener("click", () => { this.chosen = this.chosen === key ? "" : key; this.show(); });
    open.setAttribute("aria-pressed", String(this.chosen === key));
    const made = element("td", open, element("span.grid-squares", cells.map((cell) => this.square(cell))), failed);
    if (place.mean != null) made.style.background = tone(place.mean);
    return made;
  }

  // The runs of the place that is chosen.
  detail() {
    const [teacher, series] = this.chosen.split("\n"), box = this.at(".grid-chosen");
    const cells = this.chosen && this.data.view === "map" ? this.cellsOf(teacher, series) : [];
    box.hidden = !cells.length;
    if (!cells.length) return;
    box.querySelector("h4").textContent = `${series} from ${ofPath(teacher)}`;
    const scores = Object.fromEntries(this.data.rows.map((row) => [row.run, row]));
    box.querySelector("ul").replaceChildren(...cells.map((cell) => {
      const row = scores[cell.run], known = row && row.final != null && cell.run;
      const score = known ? ` · final ${this.form(row.final)}, best ${this.form(row.best)} ${this.unit}` : "";
      const why = cell.message ? ` · ${cell.message}` : "";
      return element("li", `seed ${cell.seed} · ${cell.state}${score}${why} `, cell.run ? this.links(cell.run) : []);
    }));
  }

  // --- charts ---

  scoreAxis() {
    return { ...titled(`${this.data.score}${this.data.lower_is_better ? ", lower is better" : ""}`, 6), ...(this.data.is_share ? { tickformat: ".0%" } : {}) };
  }

  keyed(panel, names, note) {
    const entries = names.map((name, index) => [ofPath(name), this.paint(index), "point"]);
    legend(panel.querySelector(".exp-key"), entries, note);
  }

  nothing(panel, words) {
    const plot = panel.querySelector(".exp-plot");
    this.plot(plot, [], { xaxis: { visible: false }, yaxis: { visible: false }, annotations: [{ text: words, showarrow: false, x: 0.5, y: 0.5, xref: "paper", yref: "paper" }] }, words);
  }

  // Fig. 1b: a dot for each run's end, a ring for its peak, a column for each series, a place in it for each teacher.
  strip(panel) {
    const { teachers, series, rows, places } = this.data, traces = [];
    const done = rows.filter((row) => row.final != null);
    this.keyed(panel, teachers, "ring: peak, dot: end of a run; lines: mean of a teacher's ends ± standard deviation over seeds");
    if (!done.length) return this.nothing(panel, "The first dot appears when the first run has ended.");
    const place = (row, seed = 0) => series.indexOf(row.series) + 0.72 * ((teachers.indexOf(row.teacher) + 0.5) / teachers.length - 0.5) + 0.03 * seed;
    const shift = (row) => ((this.data.seeds.indexOf(row.seed) + 0.5) / Math.max(1, this.data.seeds.length) - 0.5) * 2;
    teachers.forEach((teacher, index) => {
      const own = done.filter((row) => row.teacher === teacher), color = this.paint(index);
      const words = own.map((row) => `<b>${row.series}</b> from ${ofPath(teacher)}, seed ${row.seed}<br>end ${this.form(row.final)}, peak ${this.form(row.best)} ${this.unit}`);
      const at = (name) => own.map((row) => [place(row, shift(row)), row[name]]);
      traces.push(marks(at("best"), { color, size: this.theme.big ? 9 : 7, symbol: "circle-open", line: { width: 1.5 } }, words));
      traces.push(marks(at("final"), { color, size: this.theme.big ? 8 : 6 }, words));
      for (const one of places.filter((known) => known.teacher === teacher && known.mean != null)) {
        const x = place(one), half = 0.3 / teachers.length;
        traces.push(rule([x - half, x + half], [one.mean, one.mean], color, "solid", 3));
        if (one.deviation != null) traces.push(rule([x, x], [one.mean - one.deviation, one.mean + one.deviation], color, "solid", 1));
      }
    });
    const spoken = series.map((name) => `${name}: ` + places.filter((one) => one.series === name && one.mean != null).map((one) => `${ofPath(one.teacher)} ${this.form(one.mean)}`).join(", ")).join("; ");
    const failed = series.map((name) => places.filter((one) => one.series === name).reduce((sum, one) => sum + one.failed, 0));
    const ticktext = series.map((name, index) => name + (failed[index] ? `<br>${failed[index]} failed` : ""));
    const xaxis = { range: [-0.6, series.length - 0.4], tickvals: [...series.keys()], ticktext, showgrid: false };
    this.plot(panel.querySelector(".exp-plot"), traces, { ...margins(62, 12, 10, 46), xaxis, yaxis: this.scoreAxis() }, `Ends of runs. ${spoken}`);
  }

  curves(panel) {
    const { curves, axis, column } = this.data, traces = [];
    this.keyed(panel, curves.map((one) => one.name), "mean of the runs that are done, and a standard deviation to each side");
    if (!curves.length) return this.nothing(panel, "Curves appear when the first run has ended.");
    const share = this.data.column_is_share, form = share ? PERCENT : FIGURE;
    curves.forEach(({ x, mean, low, high }, index) => {
      traces.push(...band(x, low, high, faint(this.paint(index), 0.13)));
    });
    curves.forEach(({ x, mean, name, n }, index) => {
      traces.push(line({ x, y: mean }, `${name} (${n})`, this.paint(index), { dash: this.stroke(index) }, form));
    });
    const layout = { ...margins(62, 12, 10, 46), hovermode: "x unified", xaxis: titled(axis, 6), yaxis: { ...titled(column, 6), ...(share ? { tickformat: ".0%" } : {}) } };
    this.plot(panel.querySelector(".exp-plot"), traces, layout, `${column} over ${axis}: ` + curves.map(({ name, mean }) => `${name} ends at ${brief(mean.at(-1))}`).join(", "));
  }

  pair(panel) {
    const { pair, teachers } = this.data, key = panel.querySelector(".exp-key");
    key.textContent = pair ? pair.sentence : "";
    if (!pair || !pair.points.length) return this.nothing(panel, "Two methods with runs of the same teacher and seed can be compared.");
    const scale = this.data.is_share ? 100 : 1, traces = [];
    const own = teachers.filter((name) => pair.points.some(([teacher]) => teacher === name));
    const height = [-0.7, own.length + 0.7];
    traces.push(rule([0, 0], height, this.theme.muted, "dot", 1.5));
    own.forEach((teacher, index) => {
      const found = pair.points.filter(([name]) => name === teacher), color = this.paint(teachers.indexOf(teacher));
      const places = found.map(([, , value], turn) => [scale * value, index + 0.12 * (turn - (found.length - 1) / 2)]);
      traces.push(marks(places, { color, size: 9 }, found.map(([, seed, value]) => `${ofPath(teacher)}, seed ${seed}: ${(scale * value).toFixed(2)}`)));
    });
    const all = marks([[scale * pair.difference, own.length]], { color: this.theme.text, size: 11, symbol: "diamond" }, [pair.sentence]);
    if (pair.low != null) all.error_x = { type: "data", symmetric: false, array: [scale * (pair.high - pair.difference)], arrayminus: [scale * (pair.difference - pair.low)], color: this.theme.text, thickness: 2, width: 6 };
    traces.push(all);
    const names = [...own.map(ofPath), "all"];
    const layout = { ...margins(20 + 7 * Math.max(...names.map(({ length }) => length)), 14, 10, 46), xaxis: titled(`${pair.first} − ${pair.second}, ${this.data.is_share ? "points" : this.unit}`, 6), yaxis: { range: height, tickvals: [...names.keys()], ticktext: names, showgrid: false } };
    this.plot(panel.querySelector(".exp-plot"), traces, layout, pair.sentence);
  }

  // --- tables ---

  table(name, columns, lines, about) {
    const panel = this.panel(name), head = columns.map(([words, title]) => element("th", { scope: "col", title }, words));
    once(panel, [columns, lines, about], () => {
      panel.querySelector("thead").replaceChildren(element("tr", head));
      panel.querySelector("tbody").replaceChildren(...lines.map(([first, ...rest]) => this.line({}, first, rest)));
      panel.querySelector("p").textContent = about;
    });
  }

  across() {
    const { across, last, lower_is_better: lower } = this.data, known = (value) => (value == null ? "–" : this.form(value));
    const columns = [["", ""], [`mean, ${this.unit}`, "Mean over teachers of the mean over seeds"], [lower ? "worst" : "minimum", "The teacher that it does worst with"], ["with", ""], ["spread", "Between the best and the worst teacher"], ["stability", `Best score minus the mean of the last ${last} epochs, mean over runs: 0 is best`], ["runs", ""], ["failed", ""], ["cannot", "Teachers that the method refuses"]];
    const lines = across.map((row) => [row.series, known(row.mean), known(row.minimum), row.worst ? ofPath(row.worst) : "–", known(row.spread), known(row.stability), String(row.n), String(row.failed), String(row.cannot)]);
    this.table("across", columns, lines, `Stability: best minus the mean of the last ${last} epochs. What failed is counted and is in no mean.`);
  }

  picks() {
    const { picks, revealed } = this.data;
    const columns = [["", ""], ["picked by", ""], ["at step, median", ""], ["runs", ""], ...(revealed ? [[`score there, ${this.unit}`, ""], [`best, ${this.unit}`, ""], ["regret, mean", "How far below the best checkpoint"], ["regret, most", ""]] : [])];
    const lines = picks.map((row) => [row.series, row.signal, grouped(row.step), String(row.n), ...(revealed ? [this.form(row.score), this.form(row.best), this.form(row.regret, 2), this.form(row.most, 2)] : [])]);
    this.table("picks", columns, lines, "Each signal is averaged over three evaluations, and needs no image of the data. Agreement is that of student and teacher on the newest recorded sheet of generated samples.");
  }
}

export default mounting(Grid);
