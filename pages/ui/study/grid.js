// A grid of teachers × series × seeds: a map that fills in, peaks and ends, curves with bands, what holds across
// teachers, one series against another; and the same without any score of test images.

import { element, legend, once } from "../web/dom.js";
import { mounting } from "../web/mount.js";
import { brief, clamp, grouped } from "../web/numbers.js";
import { band, FIGURE, line, margins, marks, NOTHING, PERCENT, rule, titled, words } from "../web/plot.js";
import { faint } from "../web/theme.js";
import { Board } from "./board.js";
import { CHART, Experiment } from "./experiment.js";

const PAINTS = [0, 1, 2, 3, 6, 7, 5, 8, 9]; // of the palette: the one between is the teacher's
const UPRIGHT = 8; // series whose names fit beside each other
const STROKES = ["solid", "dash", "dot", "dashdot", "longdash"];
const CHARTS = ["strip", "curves", "pair"], TABLES = ["across", "picks"];
const TITLES = {
  map: "Map", strip: "Peaks and ends", curves: "Curves", across: "Across teachers", pair: "Against each other",
  picks: "Picked without test images",
};
const panel = (name, kind, inside) =>
  `<section class="exp-panel ${kind}" data-panel="${name}"><h4></h4>${inside}</section>`;
const TABLE = `<table><thead></thead><tbody></tbody></table><p></p>`;
const SCROLL = `<div class="grid-scroll" tabindex="0" role="region" aria-label="Teachers and what is compared"></div>`;
const SKELETON = [
  `<p class="grid-short" role="status" hidden></p>`,
  panel("map", "exp-figures grid-map", `<div class="exp-key"></div>${SCROLL}<p></p>`),
  `<section class="exp-panel grid-chosen" hidden><h4></h4><ul></ul></section>`,
  `<details class="exp-panel exp-figures grid-board"><summary></summary><table><thead></thead><tbody></tbody></table>
    </details>`,
  ...CHARTS.map((name) => panel(name, "grid-plot", `<div class="exp-key"></div>${CHART}`)),
  ...TABLES.map((name) => panel(name, "exp-figures", TABLE)),
].join("");
const STRIP = "ring: peak, dot: end of a run; lines: mean of a teacher's ends ± standard deviation over seeds";
const BANDS = "mean of the runs that are done, and a standard deviation to each side";
const LIVE = "; dotted, up to a ring: a run that is not over, in no band";
const PICKS =
  "Each signal is averaged over three evaluations, and needs no image of the data. Agreement is that of student and " +
  "teacher on the newest recorded sheet of generated samples.";

const named = (path) => String(path).replace(/^.*\//, "").replace(/\.json$/, "");
const sum = (values) => values.reduce((total, value) => total + value, 0);

class Grid extends Experiment {
  constructor(host) {
    super(host, "grid", SKELETON);
    this.board = new Board(this, this.at(".grid-board"));
    this.chosen = "";
  }

  begin() { this.chosen = ""; }
  squares(box) { box.hidden = true; } // they stand in the map
  panel(name) { return this.root.querySelector(`[data-panel="${name}"]`); }

  // --- names and numbers ---

  nameOf(cell) { return `${cell.series} from ${named(cell.teacher)}, seed ${cell.seed}`; }
  form(value, digits = 1) { return this.data.is_share ? (100 * value).toFixed(digits) : brief(value); }
  known(value) { return value == null ? "–" : this.form(value); }
  get unit() { return this.data.is_share ? "%" : this.data.score; }
  get scale() { return this.data.is_share ? 100 : 1; }
  paint(index) { return this.theme.palette[PAINTS[index % PAINTS.length]]; }
  colourOf(teacher) { return this.paint(this.data.teachers.indexOf(teacher)); }
  placesOf(series) { return this.data.places.filter((one) => one.series === series); }
  cellsOf(teacher, series) {
    return this.data.cells.filter((one) => one.teacher === teacher && one.series === series);
  }

  draw() {
    const { view, at } = this.data, shown = this.panel(view);
    for (const one of this.root.querySelectorAll("[data-panel]")) one.hidden = one !== shown;
    this.root.dataset.view = view;
    shown.querySelector("h4").textContent = at ? `${TITLES[view]}, ${at}` : TITLES[view];
    const short = this.at(".grid-short");
    Object.assign(short, { hidden: !this.data.short, textContent: this.data.short });
    this.detail();
    this.at(".grid-board").hidden = view !== "map";
    if (view === "map") this.map(), this.board.show();
    else if (TABLES.includes(view)) this[view]();
    else {
      const { rows, curves, live, pair } = this.data;
      this.once([view, rows, curves, live, pair, at], () => this[view](shown));
    }
  }

  // --- the map ---

  map() {
    const { cells, places, refused, blind, score } = this.data;
    const key = `final ${score}, mean over seeds ± standard deviation, in ${this.unit}; a square is a run`;
    const more = refused.length > 1 ? ` And ${refused.length - 1} more.` : "";
    this.at(".grid-map .exp-key").textContent = blind ? "states of the runs; scores of test images are hidden" : key;
    this.at(".grid-map > p").textContent = refused.length ? `Cannot be run: ${refused[0].why}${more}` : "";
    const on = [cells, places, this.theme.key, this.chosen];
    once(this.at(".grid-scroll"), on, (box) => box.replaceChildren(this.fields()));
  }

  fields() {
    const { teachers, series } = this.data, tone = this.tone();
    const head = ["teacher", ...series].map((one) => element("th", { scope: "col" }, one));
    const row = (teacher) => [
      element("th", { scope: "row", title: teacher }, named(teacher)),
      ...series.map((name) => this.field(teacher, name, tone)),
    ];
    const lines = teachers.map((teacher) => element("tr", row(teacher)));
    return element("table", element("thead", element("tr", head)), element("tbody", lines));
  }

  // The better, the more of the colour.
  tone() {
    const means = this.data.places.map(({ mean }) => mean).filter((mean) => mean != null);
    const [low, high] = [Math.min(...means), Math.max(...means)];
    return (mean) => {
      const share = (mean - low) / (high - low || 1);
      return faint(this.theme.student, 0.06 + 0.4 * (this.data.lower_is_better ? 1 - share : share));
    };
  }

  field(teacher, series, tone) {
    const place = this.placesOf(series).find((one) => one.teacher === teacher);
    if (!place) return element("td", "–");
    if (place.cannot) return element("td.grid-cannot", { title: place.why }, "cannot");
    const squares = this.cellsOf(teacher, series).map((cell) => this.square(cell));
    const failed = place.failed && element("small.grid-failed", { title: place.why }, `${place.failed} failed`);
    const made = element("td", this.opener(place), element("span.grid-squares", squares), failed || null);
    if (place.mean != null) made.style.background = tone(place.mean);
    return made;
  }

  // The score, which shows the runs behind it.
  opener({ teacher, series, mean, deviation }) {
    const key = `${teacher}\n${series}`, value = mean == null ? "" : this.form(mean);
    const around = deviation == null ? "" : ` ± ${this.form(deviation)}`;
    const spoken = `${series} from ${named(teacher)}: ${value ? value + around : "no score yet"}. Show its runs`;
    const spread = around ? element("small", around) : null;
    const about = { title: "Show its runs", "aria-label": spoken, "aria-pressed": String(this.chosen === key) };
    const made = element("button.grid-open", about, element("b", value || "–"), spread);
    made.addEventListener("click", () => {
      this.chosen = this.chosen === key ? "" : key;
      this.show();
    });
    return made;
  }

  // The runs of the place that is chosen.
  detail() {
    const [teacher, series] = this.chosen.split("\n"), box = this.at(".grid-chosen");
    const cells = this.chosen && this.data.view === "map" ? this.cellsOf(teacher, series) : [];
    box.hidden = !cells.length;
    if (!cells.length) return;
    box.querySelector("h4").textContent = `${series} from ${named(teacher)}`;
    const rows = new Map(this.data.rows.filter(({ run }) => run).map((row) => [row.run, row]));
    const told = ({ seed, state, message, run }) => {
      const { final, best } = rows.get(run) ?? {};
      const score = final == null ? "" : ` · final ${this.form(final)}, best ${this.form(best)} ${this.unit}`;
      return `seed ${seed} · ${state}${score}${message ? " · " + message : ""} `;
    };
    const lines = cells.map((cell) => element("li", told(cell), cell.run ? this.links(cell.run) : []));
    box.querySelector("ul").replaceChildren(...lines);
  }

  // --- charts ---

  scoreAxis() {
    const { score, is_share: share, lower_is_better: lower } = this.data;
    return { ...titled(lower ? `${score}, lower is better` : score, 6), ...(share ? { tickformat: ".0%" } : {}) };
  }

  keyed(box, names, note) {
    legend(box.querySelector(".exp-key"), names.map((name, index) => [named(name), this.paint(index), "point"]), note);
  }

  into(box, traces, layout, spoken) { this.plot(box.querySelector(".exp-plot"), traces, layout, spoken); }
  nothing(box, why) { this.into(box, [], { ...NOTHING, annotations: [words(why, 0.5, 0.5)] }, why); }

  // Fig. 1b: a column for each series, in it a place for each teacher, there a ring and a dot for each run.
  strip(box) {
    const { teachers, series, places } = this.data, done = this.data.rows.filter(({ final }) => final != null);
    this.keyed(box, teachers, STRIP);
    if (!done.length) return this.nothing(box, "The first dot appears when the first run has ended.");
    const traces = teachers.flatMap((teacher) => [
      ...this.dots(done.filter((row) => row.teacher === teacher)),
      ...places.filter((one) => one.teacher === teacher && one.mean != null).flatMap((one) => this.level(one)),
    ]);
    const failed = (name) => sum(this.placesOf(name).map((one) => one.failed));
    const ticktext = series.map((name) => name + (failed(name) ? `<br>${failed(name)} failed` : ""));
    const xaxis = { range: [-0.6, series.length - 0.4], tickvals: [...series.keys()], ticktext, showgrid: false };
    const ends = places.filter(({ mean }) => mean != null);
    const spoken = ends.map((one) => `${one.series} from ${named(one.teacher)} ${this.form(one.mean)}`).join(", ");
    const many = series.length > UPRIGHT, below = many ? 84 : 46;
    if (many) xaxis.tickangle = -30; // upwards: else the last one, which would not fit, is left out
    const layout = { ...margins(62, 12, 10, below), xaxis, yaxis: this.scoreAxis() };
    this.into(box, traces, layout, `Ends of runs: ${spoken}`);
  }

  column({ teacher, series }) {
    const { teachers, series: all } = this.data;
    return all.indexOf(series) + 0.72 * ((teachers.indexOf(teacher) + 0.5) / teachers.length - 0.5);
  }

  dots(rows) {
    if (!rows.length) return [];
    const { seeds } = this.data, color = this.colourOf(rows[0].teacher), size = this.theme.big ? 8 : 6;
    const aside = ({ seed }) => 0.06 * ((seeds.indexOf(seed) + 0.5) / seeds.length - 0.5);
    const at = (name) => rows.map((row) => [this.column(row) + aside(row), row[name]]);
    const score = (row) => `end ${this.form(row.final)}, peak ${this.form(row.best)} ${this.unit}`;
    const who = (row) => `<b>${row.series}</b> from ${named(row.teacher)}, seed ${row.seed}`;
    const told = rows.map((row) => `${who(row)}<br>${score(row)}`);
    return [
      marks(at("best"), { color, size: size + 1, symbol: "circle-open", line: { width: 1.5 } }, told),
      marks(at("final"), { color, size }, told),
    ];
  }

  level(place) {
    const { mean, deviation } = place, x = this.column(place), half = 0.3 / this.data.teachers.length;
    const color = this.colourOf(place.teacher), across = rule([x - half, x + half], [mean, mean], color, "solid", 3);
    const up = deviation == null ? [] : [rule([x, x], [mean - deviation, mean + deviation], color, "solid", 1)];
    return [across, ...up];
  }

  curves(box) {
    const { series, live, axis, column, column_is_share: share } = this.data;
    const curves = this.data.curves.map((one) => ({ ...one, index: series.indexOf(one.name) }));
    const drawn = series.filter((name) => [...curves, ...live].some((one) => name === (one.name ?? one.series)));
    const round = (index) => Math.floor(index / PAINTS.length); // of the colours: strokes tell them apart
    const dash = (index) => STROKES[round(index) % STROKES.length];
    const swatch = (index) => ["line", "dash", "dot"][Math.min(2, round(index))];
    const entries = drawn.map((name) => [name, this.paint(series.indexOf(name)), swatch(series.indexOf(name))]);
    legend(box.querySelector(".exp-key"), entries, live.length ? BANDS + LIVE : BANDS);
    const none = "Curves appear when a run was evaluated twice; not every run logs all.";
    if (!drawn.length) return this.nothing(box, none);
    const within = (values) => (share ? values.map((value) => value && clamp(value, 0, 1)) : values); // as shares are
    const bands = curves.flatMap(({ x, low, high, index }) =>
      band(x, within(low), within(high), faint(this.paint(index), 0.13)));
    const form = share ? PERCENT : FIGURE;
    const lines = curves.map(({ x, mean, name, n, index }) =>
      line({ x, y: mean }, `${name} (${n})`, this.paint(index), { dash: dash(index) }, form));
    lines.push(...live.map((one) => this.soFar(one, form)));
    const yaxis = { ...titled(column, 6), ...(share ? { tickformat: ".0%" } : {}) };
    const layout = { ...margins(62, 12, 10, 46), hovermode: "x unified", xaxis: titled(axis, 6), yaxis };
    const ends = curves.map(({ name, mean }) => `${name} ends at ${brief(mean.at(-1))}`);
    const now = live.map((one) => `${this.nameOf(one)} is at ${brief(one.points.at(-1)[1])}`);
    const spoken = [...ends, ...now].join(", ");
    this.into(box, [...bands, ...lines], layout, `${column} over ${axis}: ${spoken}`);
  }

  // A run that is not over: thin and dotted up to where it is, with a ring there.
  soFar(one, form) {
    const color = faint(this.paint(this.data.series.indexOf(one.series)), 0.8), { points } = one;
    const size = points.map((_, index) => (index === points.length - 1 ? 8 : 0));
    const marker = { color, size, symbol: "circle-open" };
    const curve = { x: points.map(([x]) => x), y: points.map(([, y]) => y) };
    return line(curve, `${this.nameOf(one)}, so far`, color, { dash: "dot", width: 1.2 }, form,
      { mode: "lines+markers", marker });
  }

  // Differences of runs of the same teacher and seed, and above them their mean with its interval.
  pair(box) {
    const { pair, teachers } = this.data;
    box.querySelector(".exp-key").textContent = pair ? pair.sentence : "";
    if (!pair?.points.length) return this.nothing(box, "Choose two with runs of the same teacher and seed.");
    const own = teachers.filter((name) => pair.points.some(([teacher]) => teacher === name));
    const height = [-0.7, own.length + 0.7], names = [...own.map(named), "all"];
    const traces = [
      rule([0, 0], height, this.theme.muted, "dot", 1.5),
      ...own.map((teacher, level) => this.differences(teacher, level)),
      this.meanDifference(own.length),
    ];
    const unit = this.data.is_share ? "points" : this.unit;
    const layout = {
      ...margins(20 + 7 * Math.max(...names.map(({ length }) => length)), 14, 10, 46),
      xaxis: titled(`${pair.first} − ${pair.second}, ${unit}`, 6),
      yaxis: { range: height, tickvals: [...names.keys()], ticktext: names, showgrid: false },
    };
    this.into(box, traces, layout, pair.sentence);
  }

  differences(teacher, level) {
    const found = this.data.pair.points.filter(([name]) => name === teacher);
    const at = ([, , value], turn) => [this.scale * value, level + 0.12 * (turn - (found.length - 1) / 2)];
    const told = found.map(([, seed, value]) => `${named(teacher)}, seed ${seed}: ${(this.scale * value).toFixed(2)}`);
    return marks(found.map(at), { color: this.colourOf(teacher), size: 9 }, told);
  }

  meanDifference(level) {
    const { difference, low, high, sentence } = this.data.pair, { scale } = this, color = this.theme.text;
    const made = marks([[scale * difference, level]], { color, size: 11, symbol: "diamond" }, [sentence]);
    if (low == null) return made;
    const look = { type: "data", symmetric: false, color, thickness: 2, width: 6 };
    const [more, less] = [high - difference, difference - low].map((gap) => [scale * gap]);
    return { ...made, error_x: { ...look, array: more, arrayminus: less } };
  }

  // --- tables ---

  listed(name, columns, lines, about) {
    const box = this.panel(name);
    once(box, [columns, lines, about], () => {
      const head = columns.map(([one, title]) => element("th", { scope: "col", title }, one));
      box.querySelector("thead").replaceChildren(element("tr", head));
      box.querySelector("tbody").replaceChildren(...lines.map(([first, ...rest]) => this.line({}, first, rest)));
      box.querySelector("p").textContent = about;
    });
  }

  across() {
    const { across, last, lower_is_better: lower } = this.data;
    const columns = [
      ["compared"], [`mean, ${this.unit}`, "Mean over teachers of the mean over seeds"],
      [lower ? "worst" : "minimum", "With the teacher that it does worst with"], ["with"],
      ["spread", "Between the best and the worst teacher"],
      ["stability", `0 only if all evaluations of the last ${last} epochs equal the best; mean over runs`],
      ["runs"], ["failed"], ["cannot", "Teachers that the method refuses"],
      ["seconds", "Of a whole run, mean over those that are done, as the next two"],
      ["images", "That the student learned from"],
      ["queries", "Images that the teacher judged"],
    ];
    const lines = across.map((row) => [
      row.series, this.known(row.mean), this.known(row.minimum), row.worst ? named(row.worst) : "–",
      this.known(row.spread), this.known(row.stability), String(row.n), String(row.failed), String(row.cannot),
      ...["seconds", "images", "queries"].map((name) => (row[name] == null ? "–" : grouped(Math.round(row[name])))),
    ]);
    const stable = `Stability: best minus the mean of the last ${last} epochs`;
    const rising = "a student that is still rising has a value too";
    this.listed("across", columns, lines, `${stable}; ${rising}. What failed is counted and is in no mean.`);
  }

  picks() {
    const { picks, revealed } = this.data;
    const costs = [[`score there, ${this.unit}`], [`best, ${this.unit}`], ["regret, mean"], ["regret, most"]];
    const columns = [["compared"], ["picked by"], ["at step, median"], ["runs"], ...(revealed ? costs : [])];
    const cost = ({ score, best, regret, most }) => [
      this.form(score), this.form(best), this.form(regret, 2), this.form(most, 2),
    ];
    const lines = picks.map((row) => [
      row.series, row.signal, grouped(row.step), String(row.n), ...(revealed ? cost(row) : []),
    ]);
    this.listed("picks", columns, lines, PICKS);
  }
}

export default mounting(Grid);
