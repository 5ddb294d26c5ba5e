// The slides' table: a generative teacher and its students, by arm and width, and a plot of a figure against size. Both
// fill while the runs go on.

import { element, legend, once, options } from "../web/dom.js";
import { mounting } from "../web/mount.js";
import { brief, grouped } from "../web/numbers.js";
import { margins, marks, titled } from "../web/plot.js";
import { CHART, Experiment } from "./experiment.js";

const MARKS = ["circle", "square", "diamond", "triangle-up", "x", "star", "hexagon"];
const INKS = [0, 1, 2, 3, 6, 5, 8]; // of the palette: the one between is the teacher's
const APART = 0.02; // between two arms of the same size, in decades
const RATIO =
  "FID ÷ with data pairs runs of the same seed: geometric mean, 95 % t-interval of the logarithms; of √FID it is " +
  "the root.";

const SKELETON = `
  <section class="exp-panel table-plot">
    <h4><select aria-label="Figure of the plot"></select> against the number of parameters</h4>
    <div class="exp-key"></div>${CHART}
    <div class="exp-empty">The first point appears when the first run has been measured.</div></section>
  <section class="exp-panel exp-figures table-figures"><table><thead></thead><tbody></tbody></table><p></p></section>`;

class GenerativeTable extends Experiment {
  constructor(host) {
    super(host, "generative-table", SKELETON);
    this.select = this.at("select");
    this.select.addEventListener("change", () => this.chart());
  }

  // Another study.
  begin() {
    const { columns, plotted } = this.data, kept = this.select.value;
    const titles = Object.fromEntries(columns.map(({ name, title, help }) => [name, `${title}, ${help}`]));
    options(this.select, plotted.map((name) => [name, titles[name]]));
    if (kept) this.select.value = kept;
  }

  nameOf(cell) { return `${this.rowName(cell)}, seed ${cell.seed}`; }
  rowName({ series, x }) { return `${this.data.titles[series]}, H ${x}`; }
  distill(run) { return super.distill(run, "generative"); }

  draw() {
    const { seeds, rows } = this.data;
    this.root.dataset.points = Object.keys(seeds).length;
    this.at(".exp-empty").hidden = rows[0].n > 0;
    this.once([seeds], () => this.chart());
    this.table();
  }

  chart() {
    const { settings, titles, columns, rows } = this.data, figure = this.select.value;
    const arms = settings.series, [teacher, ...students] = rows;
    this.root.dataset.figure = figure;
    const entries = arms.map((arm, index) => [titles[arm], this.ink(index), "point"]);
    const note = "mean and standard deviation over seeds";
    legend(this.at(".exp-key"), [["teacher", this.theme.teacher, "dash"], ...entries], note);
    const known = students.filter((row) => row.values[figure] != null);
    const sizes = [teacher, ...known].map((row) => row.values.parameters).filter((size) => size != null);
    if (!sizes.length) return;
    const range = [Math.log10(Math.min(...sizes)) - 0.2, Math.log10(Math.max(...sizes)) + 0.2];
    const level = teacher.values[figure];
    const ends = range.map((place) => 10 ** place);
    const traces = [
      this.teacherTrace(ends, [level, level]),
      this.marks([teacher], figure, this.theme.teacher, "circle-open", 0, "teacher"),
      ...arms.flatMap((arm, index) => this.arm(arm, index, figure, known)),
    ];
    const { title } = columns.find(({ name }) => name === figure);
    const layout = {
      ...margins(62, 14, 10, 46), xaxis: { ...titled("parameters", 6), type: "log", range, dtick: "D2" },
      yaxis: titled(title, 6),
    };
    const values = known.map((row) => `; ${this.rowName(row)} ${brief(row.values[figure])}`).join("");
    this.plot(this.at(".table-plot .exp-plot"), traces, layout, `${title}: teacher ${brief(level)}${values}`);
  }

  arm(arm, index, figure, known) {
    const { settings, cells, seeds } = this.data, color = this.ink(index);
    const shift = APART * (index - (settings.series.length - 1) / 2);
    const [rows, own] = [known, cells].map((all) => all.filter(({ series }) => series === arm));
    const size = Object.fromEntries(rows.map((row) => [row.x, row.values.parameters]));
    const at = ({ x }, value) => [size[x] * 10 ** shift, value];
    const marker = { color, size: 6, opacity: 0.4 };
    const singles = this.singles(own, (cell) => seeds[cell.key]?.[figure], at, marker, brief);
    return [singles, this.marks(rows, figure, color, MARKS[index % MARKS.length], shift)];
  }

  marks(rows, figure, color, symbol, shift, name = null) {
    const array = rows.map((row) => row.spreads[figure] ?? 0), visible = !name && array.some((one) => one > 0);
    const size = ({ values }) => `${grouped(Math.round(values.parameters))} parameters`;
    const words = (row) => `<b>${name ?? this.rowName(row)}</b><br>${brief(row.values[figure])}, ${size(row)}`;
    const marker = { color, size: 11, symbol, line: { width: symbol.endsWith("open") ? 2 : 0 } };
    return marks(rows.map(({ values }) => [values.parameters * 10 ** shift, values[figure]]), marker, rows.map(words), {
      mode: "lines+markers", line: { color, width: 2 },
      error_y: { type: "data", array, color, thickness: 2, width: 5, visible },
    });
  }

  ink(index) { return this.theme.palette[INKS[index % INKS.length]]; }

  table() {
    const { columns, head, rows, cells, published, notes } = this.data;
    once(this.at(".exp-figures"), [rows, cells, notes], () => {
      const help = Object.fromEntries(columns.map((column) => [column.title, column.help]));
      const own = ({ series, x }) => cells.filter((cell) => cell.series === series && cell.x === x);
      const line = ([name, first, second, ...others], about, running) =>
        this.line(about, name, [first, element("td", second, running), ...others]);
      const lines = rows.map((row) => {
        const { series, x, text } = row;
        return line(text, { dataset: { series, width: x ?? "" } }, this.running(own(row)));
      });
      lines.push(...published.map((text) => line(text, { className: "published" })));
      this.fill(head.map((words) => [words, help[words]]), lines, [...notes, RATIO].join(" "));
    });
  }
}

export default mounting(GenerativeTable);
