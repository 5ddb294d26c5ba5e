// The slides' table: a generative teacher and its students, by arm and width, and a plot of a figure against size. Both
// fill while the runs go on.

const MARKS = ["circle", "square", "diamond", "triangle-up", "x", "star", "hexagon"];
const INKS = [0, 1, 2, 3, 6, 5, 8]; // of the palette: the one between is the teacher's
const APART = 0.02; // between two arms of the same size, in decades

const TABLE_SKELETON = `
  <section class="exp-panel table-plot"><h4><select aria-label="Figure of the plot"></select> against the number of parameters</h4>
    <div class="table-key"></div><div class="exp-plot" role="img"></div>
    <div class="exp-empty">The first point appears when the first run has been measured.</div></section>
  <section class="exp-panel table-figures"><table><thead></thead><tbody></tbody></table><p></p></section>`;

class GenerativeTable extends Experiment {
  constructor(host) {
    super(host, "generative-table", TABLE_SKELETON);
    this.select = this.at("select");
  }

  // Another study.
  begin() {
    const titles = Object.fromEntries(this.data.columns.map(({ name, title, help }) => [name, title + ", " + help]));
    const kept = this.select.value;
    this.select.replaceChildren(...this.data.plotted.map((name) => element("option", { value: name }, titles[name])));
    if (kept) this.select.value = kept;
    this.select.onchange = () => this.chart();
  }

  rows() {
    return this.data.settings.seeds.map((seed) => this.data.cells.filter((cell) => cell.seed === seed));
  }

  nameOf(cell) { return this.data.titles[cell.series] + ", H " + cell.x + ", seed " + cell.seed; }
  distill(run) { return this.data.base + "/generative?run=" + encodeURIComponent(run); }

  draw() {
    this.root.dataset.points = Object.keys(this.data.seeds).length;
    this.at(".exp-empty").hidden = this.data.rows[0].n > 0;
    const { share, left, ...told } = this.data;
    const drawn = JSON.stringify([told.study, told.seeds, this.theme.background, !this.plotly, this.root.clientWidth > 1350]);
    if (drawn !== this.drawn) {
      this.drawn = drawn;
      this.chart();
    }
    this.table();
  }

  // --- the plot ---

  chart() {
    const d = this.data, figure = this.select.value, arms = d.settings.series, [teacher, ...students] = d.rows;
    this.root.dataset.figure = figure;
    const title = d.columns.find(({ name }) => name === figure).title;
    const entries = arms.map((arm, index) => [d.titles[arm], this.ink(index), "point"]);
    legend(this.at(".table-key"), [["teacher", this.theme.teacher, ""], ...entries], "mean and standard deviation over seeds");
    const known = students.filter((row) => row.values[figure] != null);
    const sizes = [teacher, ...known].map((row) => row.values.parameters).filter((size) => size != null);
    if (!sizes.length) return;
    const range = [Math.log10(Math.min(...sizes)) - 0.2, Math.log10(Math.max(...sizes)) + 0.2], ends = range.map((place) => 10 ** place);
    const level = teacher.values[figure], traces = [
      { x: ends, y: [level, level], mode: "lines", line: { color: this.theme.teacher, width: 2, dash: "dash" }, hoverinfo: "skip" },
      this.marks([teacher], figure, this.theme.teacher, "circle-open", 0, "teacher"),
    ];
    arms.forEach((arm, index) => traces.push(...this.arm(arm, index, figure, known)));
    this.plot(this.at(".table-plot .exp-plot"), traces, this.layout({
      margin: { l: 62, r: 14, t: 10, b: 46 },
      xaxis: { type: "log", range, title: { text: "parameters", standoff: 6, font: { size: 12 } }, dtick: "D2" },
      yaxis: { title: { text: title, standoff: 6, font: { size: 12 } } },
    }), title + ": teacher " + brief(level) + known.map((row) => "; " + this.rowName(row) + " " + brief(row.values[figure])).join(""));
  }

  arm(arm, index, figure, known) {
    const colour = this.ink(index), shift = APART * (index - (this.data.settings.series.length - 1) / 2);
    const rows = known.filter((row) => row.series === arm), size = Object.fromEntries(rows.map((row) => [row.x, row.values.parameters]));
    const cells = this.data.cells.filter((cell) => cell.series === arm && this.data.seeds[cell.key]?.[figure] != null);
    const singles = {
      x: cells.map((cell) => size[cell.x] * 10 ** shift), y: cells.map((cell) => this.data.seeds[cell.key][figure]), mode: "markers",
      marker: { color: colour, size: 6, opacity: 0.4 }, hovertemplate: "%{text}<extra></extra>",
      text: cells.map((cell) => this.nameOf(cell) + "<br>" + brief(this.data.seeds[cell.key][figure])),
    };
    return [singles, this.marks(rows, figure, colour, MARKS[index % MARKS.length], shift, null)];
  }

  marks(rows, figure, colour, symbol, shift, name) {
    const spread = rows.map((row) => row.spreads[figure] ?? 0);
    return {
      x: rows.map((row) => row.values.parameters * 10 ** shift), y: rows.map((row) => row.values[figure]), mode: "lines+markers",
      line: { color: colour, width: 2 }, marker: { color: colour, size: 11, symbol, line: { width: symbol.endsWith("open") ? 2 : 0 } },
      ...(name ? {} : { error_y: { type: "data", array: spread, color: colour, thickness: 2, width: 5, visible: spread.some((one) => one > 0) } }),
      text: rows.map((row) => `<b>${name ?? this.rowName(row)}</b><br>${brief(row.values[figure])}, ${Math.round(row.values.parameters).toLocaleString("en")} parameters`),
      hovertemplate: "%{text}<extra></extra>",
    };
  }

  ink(index) { return this.theme.palette[INKS[index % INKS.length]]; }
  rowName(row) { return this.data.titles[row.series] + ", H " + row.x; }

  // --- the table ---

  table() {
    const d = this.data, key = JSON.stringify([d.study, d.rows, d.cells, d.notes]);
    if (key === this.drawnTable) return;
    this.drawnTable = key;
    const help = Object.fromEntries(d.columns.map((column) => [column.title, column.help]));
    this.at("thead").replaceChildren(element("tr", {}, ...d.head.map((words) => element("th", { scope: "col", ...(help[words] ? { title: help[words] } : {}) }, words))));
    const line = (text, properties, cells) => element("tr", properties, element("th", { scope: "row" }, text[0]),
      ...text.slice(1).map((words, index) => element("td", {}, words, ...(index === 1 ? this.running(cells) : []))));
    this.at("tbody").replaceChildren(
      ...d.rows.map((row) => line(row.text, { dataset: { series: row.series, width: row.x ?? "" } }, d.cells.filter((cell) => cell.series === row.series && cell.x === row.x))),
      ...d.published.map((text) => line(text, { className: "published" }, [])),
    );
    this.at(".table-figures p").textContent = [...d.notes, "FID ÷ with data pairs runs of the same seed: geometric mean, 95 % t-interval of the logarithms; of √FID it is the root."].join(" ");
  }

  // How far the run is that goes on.
  running(cells) {
    const live = cells.find((cell) => ["running", "measuring", "queued", "paused"].includes(cell.state));
    if (!live) return [];
    const bar = element("i", { title: this.nameOf(live) + ": " + whole(live.share) });
    bar.style.setProperty("--share", live.share);
    return [bar];
  }
}

export default function (component) {
  mount(component, (host) => new GenerativeTable(host));
}
