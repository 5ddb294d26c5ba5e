// HiDFD's experiments: lines over a numeric axis, dots with intervals for categories, accuracy against seconds; each
// fills while the runs go on. Beneath, the table with intervals and paired differences.

import { element, legend, once, say } from "../web/dom.js";
import { mounting } from "../web/mount.js";
import { difference, duration, percent, points } from "../web/numbers.js";
import { band, margins, marks, rule, titled } from "../web/plot.js";
import { faint } from "../web/theme.js";
import { CHART, Experiment, OVER } from "./experiment.js";

const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x"];
const STROKES = ["solid", "dash", "dot", "dashdot", "longdash"];
const PAINTS = [0, 1, 2, 3, 6, 7]; // of the palette: the one between is the teacher's
const ROW_OF_SQUARES = 10;
const DOT_ROW = 46; // pixels
const ABOUT =
  "± is the standard deviation (SD) over seeds. Differences pair runs of the same seed, in points, with a 95 % " +
  "t-interval; intervals are not corrected for how many there are.";
const SKELETON = `
  <p class="sweep-about"></p>
  <div class="sweep-charts">
    <section class="exp-panel sweep-main"><h4></h4>
      <div class="exp-key"><span class="sweep-legend"></span>
        <label class="sweep-paper"><input type="checkbox"> the paper's figures <small></small></label></div>
      ${CHART}<div class="exp-empty"></div></section>
    <section class="exp-panel sweep-fid" hidden><h4>FID of the generated images</h4>
      <div class="exp-key">lower is closer to real test images</div>${CHART}</section>
  </div>
  <section class="exp-panel exp-figures sweep-table"><table><thead></thead><tbody></tbody></table><p></p></section>`;

// What is drawn and listed: a figure of each run, the mean of a row with its interval, and how it reads.
const ACCURACY = { run: "final", keys: ["mean", "low", "high"], form: percent };
const FID = { run: "fid", keys: ["fid", "fid_low", "fid_high"], form: (value) => value.toFixed(2) };

const between = (low, high, form) => (low == null ? "" : ` [${form(low)}, ${form(high)}]`);
const plusMinus = (mean, deviation, form) =>
  mean == null ? "–" : form(mean) + (deviation == null ? "" : ` ± ${form(deviation)}`);
const inPercent = (value) => (100 * value).toFixed(1);

class Sweep extends Experiment {
  constructor(host) {
    super(host, "sweep", SKELETON);
    this.box = this.at(".sweep-paper input");
    this.box.addEventListener("change", () => this.draw());
  }

  // Another study.
  begin() {
    const s = this.data.settings;
    this.view = s.against_seconds ? "seconds" : s.scale === "category" ? "dots" : "lines";
    this.box.checked = this.view === "dots";
    this.at(".sweep-about").replaceChildren(s.question, " ", element("em", s.finding));
    this.at(".sweep-paper").hidden = !s.published.length;
    this.at(".sweep-paper small").textContent = s.setting;
    this.at(".sweep-fid").hidden = !s.samples;
    this.at(".sweep-charts").classList.toggle("two", Boolean(s.samples));
    Object.assign(this.root.dataset, { view: this.view, experiment: s.experiment });
  }

  // --- names ---

  get settings() { return this.data.settings; }
  get several() { return this.settings.series.length > 1; }
  get score() { return this.data.measure === "agreement" ? "agreement with the teacher" : "student's accuracy"; }
  get paper() { return this.box.checked ? this.settings.published : []; }

  rows() {
    const starts = (row) => [...row.keys()].filter((place) => place % ROW_OF_SQUARES === 0);
    return super.rows().flatMap((row) => starts(row).map((from) => row.slice(from, from + ROW_OF_SQUARES)));
  }

  title(name) { return this.settings.titles[name] ?? name; }
  place(x) { return this.settings.scale === "category" ? this.title(x) : `${this.data.symbol} = ${Number(x)}`; }
  name({ series, x }) { return (this.several ? this.title(series) + ", " : "") + this.place(x); }
  nameOf(cell) { return `${this.name(cell)}, seed ${cell.seed}`; }
  cellsOf({ series, x }) { return this.data.cells.filter((cell) => cell.series === series && cell.x === x); }
  isReference(row) { return Object.entries(this.settings.reference).every(([label, value]) => row[label] === value); }
  reference({ x }) {
    const { series, x: fixed } = this.settings.reference;
    return series ? this.title(series) : this.place(fixed ?? x);
  }

  draw() {
    const { cells, figures, live, state } = this.data, done = Object.keys(figures).length;
    this.root.dataset.points = done;
    const stopped = "No run has ended yet. Continue goes on from where it stopped.";
    const none = state === "stopped" ? stopped : "The first point appears when the first run has been evaluated.";
    say(this.at(".sweep-main .exp-empty"), done + Object.keys(live).length ? "" : none);
    const states = cells.map((cell) => cell.state);
    this.once([states, figures, live, this.box.checked], () => this.charts());
    this.table();
  }

  // --- charts ---

  charts() {
    const { settings: s, view } = this;
    const about = { lines: " over " + s.axis, dots: " by " + s.axis, seconds: " against the time that a run takes" };
    this.at(".sweep-main h4").textContent = this.score[0].toUpperCase() + this.score.slice(1) + about[view];
    const height = view === "dots" ? 120 + DOT_ROW * s.values.length + "px" : "";
    for (const name of [".sweep-main", ".sweep-fid"]) this.at(name).style.height = height;
    legend(this.at(".sweep-legend"), this.legendEntries());
    this.chart(".sweep-main", this[view](ACCURACY), this.score, ACCURACY);
    if (s.samples) this.chart(".sweep-fid", this.dots(FID), "FID", FID);
  }

  chart(panel, [traces, layout], name, { keys: [mean], form }) {
    const known = this.data.rows.filter((row) => row[mean] != null);
    const spoken = known.map((row) => `${this.name(row)} ${form(row[mean])}`).join("; ");
    this.plot(this.at(panel + " .exp-plot"), traces, layout, `${name}: ${spoken}`);
  }

  legendEntries() {
    const { theme } = this, teacher = this.data.teacher == null ? [] : [["teacher", theme.teacher, "dash"]];
    const stroke = (index) => STROKES[index % STROKES.length];
    const each = this.settings.series.map((name, index) => [this.title(name), this.paint(index), stroke(index)]);
    const mean = ["mean and 95 % interval over seeds", this.paint(0), this.view === "lines" ? "line" : "point"];
    return [...(this.several ? each : [mean]), ["single seeds", theme.muted, "point"], ...teacher];
  }

  paint(index) { return this.theme.palette[PAINTS[index % PAINTS.length]]; }
  // Sizes of marks grow with the writing.
  size(size, more = 2) { return this.theme.big ? size + more : size; }

  // Around all that is shown but the ends of intervals, which from two seeds reach anywhere.
  range(what, published) {
    const { figures, live, teacher } = this.data;
    const values = Object.values(figures).map((one) => one[what.run]);
    const accuracy = what === ACCURACY;
    if (accuracy) values.push(...Object.values(live), teacher, ...published.map(({ value }) => value));
    const known = values.filter((value) => value != null);
    if (!known.length) return accuracy ? [0, 1] : [0, 10];
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const edge = Math.max(0.12 * (high - low), accuracy ? 0.01 : 0.1);
    return [low - edge, high + edge];
  }

  scoreAxis(published = []) {
    const range = this.range(ACCURACY, published);
    return { ...titled(this.score, 6), range, tickformat: range[1] - range[0] < 0.05 ? ".1%" : ".0%" };
  }

  words(row, what = ACCURACY) {
    const name = `<b>${this.name(row)}</b><br>`;
    if (what === FID) return `${name}FID ${FID.form(row.fid)}${between(row.fid_low, row.fid_high, FID.form)}`;
    const gap = between(row.difference_low, row.difference_high, points);
    const against =
      row.difference == null ? "" : `<br>${difference(row.difference)}${gap} points against ${this.reference(row)}`;
    const [seeds, interval] = [row.n === 1 ? "seed" : "seeds", between(row.low, row.high, points)];
    return `${name}${percent(row.mean)}${interval}, ${row.n} ${seeds}<br>best ${percent(row.best)}${against}`;
  }

  seedTrace(cells, { run, form }, at, color) {
    const marker = { color, size: this.size(6, 1), opacity: 0.4 };
    return this.singles(cells, (cell) => this.data.figures[cell.key]?.[run], at, marker, form);
  }

  // A run that goes on, where its student stands now.
  liveTrace(cells, at, color) {
    const marker = { color, size: 11, symbol: "circle-open-dot", line: { width: 2 } };
    return this.singles(cells, (cell) => this.data.live[cell.key], at, marker, (value) => "so far " + percent(value));
  }

  // The paper's figures.
  paperTrace(own, at, color) {
    const words = ({ value }) => `the paper: ${percent(value, 2)}<br>${this.settings.setting}`;
    const marker = { color, size: this.size(12), symbol: "diamond-open", line: { width: 2 } };
    return marks(own.map((one) => at(one, one.value)), marker, own.map(words));
  }

  intervals(rows, [mean, low, high], color) {
    const gap = (from, to) => rows.map((row) => (row[low] == null ? 0 : row[to] - row[from]));
    const look = { type: "data", symmetric: false, color, thickness: 2, width: 5 };
    return { ...look, array: gap(mean, high), arrayminus: gap(low, mean) };
  }

  teacherAcross(span) {
    const { teacher } = this.data;
    return teacher == null ? [] : [this.teacherTrace(span, [teacher, teacher])];
  }

  lines() {
    const { settings: s, paper } = this, log = s.scale === "log";
    const all = [...s.values, ...paper.map(({ x }) => x)];
    const [least, most] = [Math.min(...all), Math.max(...all)].map((x) => (log ? Math.log10(x) : x));
    const edge = 0.06 * (most - least) || 0.1, range = [least - edge, most + edge];
    const traces = this.teacherAcross(range.map((x) => (log ? 10 ** x : x)));
    const at = ({ x }, value) => [x, value];
    s.series.forEach((series, index) => traces.push(...this.curve(series, index, at)));
    s.series.forEach((series, index) => {
      const own = paper.filter((one) => one.series === series);
      if (own.length) traces.push(this.paperTrace(own, at, this.paint(index)));
    });
    const tickvals = [...new Set(all)].sort((one, other) => one - other);
    const ticks = { tickvals, ticktext: tickvals.map(String) };
    const xaxis = { ...titled(s.axis, 6), type: log ? "log" : "linear", range, ...ticks };
    return [traces, { ...margins(62, 14, 10, 46), xaxis, yaxis: this.scoreAxis(paper) }];
  }

  curve(series, index, at) {
    const color = this.paint(index);
    const cells = this.data.cells.filter((cell) => cell.series === series);
    const rows = this.data.rows.filter((row) => row.series === series && row.n);
    const sure = rows.filter((row) => row.low != null), of = (name) => sure.map((row) => row[name]);
    const marker = { color, size: this.size(9), symbol: SYMBOLS[index % SYMBOLS.length] };
    const mean = marks(rows.map((row) => at(row, row.mean)), marker, rows.map((row) => this.words(row)), {
      mode: "lines+markers", cliponaxis: true,
      line: { color, width: this.size(2.5, 0.5), dash: STROKES[index % STROKES.length] },
    });
    if (sure.length === 1) mean.error_y = this.intervals(rows, ACCURACY.keys, color); // no band from one place
    return [
      ...band(of("x"), of("low"), of("high"), faint(color, this.several ? 0.1 : 0.18)),
      this.seedTrace(cells, ACCURACY, at, color), mean, this.liveTrace(cells, at, color),
    ];
  }

  // A row for each category.
  dots(what) {
    const { settings: s, data } = this, accuracy = what === ACCURACY, [mean] = what.keys;
    const color = this.paint(0);
    const rows = data.rows.filter((row) => row[mean] != null);
    const level = (x) => s.values.indexOf(x);
    const at = (below) => ({ x }, value) => [value, level(x) + below];
    const height = [-0.6, s.values.length - 0.4], { teacher } = data;
    const traces = accuracy && teacher != null ? [this.teacherTrace([teacher, teacher], height)] : [];
    const of = rows.find((row) => this.isReference(row))?.[mean];
    if (of != null) traces.push(rule([of, of], height, this.theme.muted, "dot", 1));
    const places = rows.map((row) => at(0)(row, row[mean])), words = rows.map((row) => this.words(row, what));
    const error = { error_x: this.intervals(rows, what.keys, color) };
    traces.push(this.seedTrace(data.cells, what, at(0.24), color));
    traces.push(marks(places, { color, size: this.size(10) }, words, error));
    if (accuracy) traces.push(this.liveTrace(data.cells, at(0.24), color));
    const paper = accuracy ? this.paper : [];
    if (paper.length) traces.push(this.paperTrace(paper, at(-0.24), this.theme.text));
    const label = data.fid_label.split(" in ").slice(0, 2).join(" in ");
    const names = s.values.map((value) => this.title(value));
    const layout = {
      ...margins(20 + 7.2 * Math.max(...names.map((name) => name.length)), 14, 6, 44),
      xaxis: accuracy ? this.scoreAxis(paper) : { ...titled(label, 6), range: this.range(FID, []) },
      yaxis: { range: height.toReversed(), tickvals: [...names.keys()], ticktext: names, showgrid: false },
    };
    return [traces, layout];
  }

  seconds() {
    const { settings: s, data } = this;
    const far = 1.15 * Math.max(1, ...Object.values(data.figures).map(({ seconds }) => seconds));
    const traces = this.teacherAcross([0, far]);
    const at = (cell, value) => [data.figures[cell.key].seconds, value];
    for (const row of data.rows.filter(({ n }) => n)) {
      const index = s.values.indexOf(row.x), color = this.paint(index);
      const marker = { color, size: this.size(12), symbol: SYMBOLS[index % SYMBOLS.length] };
      const mean = marks([[row.seconds, row.mean]], marker, [this.title(row.x)], {
        mode: "markers+text", textposition: "top right", textfont: { color, size: 13 },
        error_y: this.intervals([row], ACCURACY.keys, color),
        customdata: [`${this.words(row)}<br>${duration(row.seconds)}`], hovertemplate: "%{customdata}<extra></extra>",
      });
      traces.push(this.seedTrace(this.cellsOf(row), ACCURACY, at, color), mean);
    }
    const title = titled("seconds of a run on this machine, its evaluations included", 6);
    return [traces, { ...margins(62, 14, 14, 46), xaxis: { ...title, range: [0, far] }, yaxis: this.scoreAxis() }];
  }

  // --- the table ---

  table() {
    const { rows, cells } = this.data;
    once(this.at(".sweep-table"), [rows, cells, this.box.checked], () => {
      const [head, body] = this.several && this.settings.values.length > 1 ? this.crossed() : this.listed();
      this.fill(head.map((words) => [words]), body, ABOUT);
    });
  }

  // A row for each setting.
  listed() {
    const { settings: s, data, several } = this;
    const published = (row) => this.paper.find((one) => one.series === row.series && one.x === row.x);
    const columns = [
      ["final %, ± SD over seeds", (row) => element("b", this.final(row))],
      ["best", (row) => (row.best == null ? "–" : inPercent(row.best))], ["runs", (row) => this.runs(row)],
      s.samples ? ["FID, ± SD", (row) => plusMinus(row.fid, row.fid_deviation, FID.form)] : null,
      ["time", (row) => (row.seconds == null ? "–" : duration(row.seconds))],
      ["against " + this.reference({ x: "" }), (row) => this.difference("td", row)],
      this.paper.length ? ["paper", (row) => (published(row) ? (100 * published(row).value).toFixed(2) : "–")] : null,
    ].filter(Boolean);
    const first = several ? "method" : s.scale === "category" ? s.axis : data.symbol;
    const line = (row) => {
      const about = { dataset: { x: String(row.x), series: row.series } };
      const name = several ? this.title(row.series) : this.place(row.x);
      return this.line(about, name, columns.map(([, content]) => content(row)));
    };
    return [[first, ...columns.map(([words]) => words)], data.rows.map(line)];
  }

  // A row for each method, a column for each x.
  crossed() {
    const { settings: s, data } = this;
    const field = (row) => {
      const title = row.n ? `best ${percent(row.best)}, ${duration(row.seconds)} a run` : "";
      const content = [element("b", this.final(row)), " ", this.runs(row), this.difference("div", row)];
      return element("td", { title }, content);
    };
    const at = (series, x) => data.rows.find((row) => row.series === series && row.x === x);
    const line = (series) =>
      this.line({ dataset: { series } }, this.title(series), s.values.map((x) => field(at(series, x))));
    const head = `final %, ± SD; against ${this.reference({})}`;
    return [[head, ...s.values.map((x) => this.place(x))], s.series.map(line)];
  }

  final({ mean, deviation }) { return plusMinus(mean, deviation, inPercent); }

  difference(tag, row) {
    const { difference: gap, difference_low: low, difference_high: high } = row, early = this.isEarly(row);
    const clear = !early && low != null && (low > 0 || high < 0), about = { dataset: { clear } };
    const made = (words, title) => element(tag + ".sweep-difference", { ...about, title }, words);
    if (gap == null) return made(this.isReference(row) ? "reference" : "–");
    if (early) return made(difference(gap) + " so far", "Not all runs of the two have ended");
    const few = "One pair, or all alike: too few to tell";
    const unsure = low == null ? few : "The interval holds zero: no clear difference";
    return made(difference(gap) + between(low, high, points), clear ? "The interval is clear of zero" : unsure);
  }

  // A run of what is compared is outstanding.
  isEarly({ series, x }) {
    const own = this.cellsOf({ series, x }), others = this.cellsOf({ series, x, ...this.settings.reference });
    return [...own, ...others].some(({ state }) => !OVER.includes(state));
  }

  // How many runs are done, and how far the one is that goes on.
  runs(row) {
    const cells = this.cellsOf(row);
    const failed = cells.filter((cell) => cell.state === "failed").length;
    const words = `${row.n} / ${cells.length}${failed ? `, ${failed} failed` : ""}`;
    return element("span.sweep-runs", words, this.running(cells));
  }
}

export default mounting(Sweep);
