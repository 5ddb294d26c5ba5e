// HiDFD's experiments: lines over a numeric axis, dots with intervals for categories, accuracy against seconds; each
// fills while the runs go on. Beneath, the table with intervals and paired differences.

const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x"], STROKES = ["solid", "dash", "dot", "dashdot", "longdash"];
const PAINTS = [0, 1, 2, 3, 6, 7]; // of the palette: the one between is the teacher's
const ROW_OF_SQUARES = 10, DOT_ROW = 46;

const SWEEP_SKELETON = `
  <p class="sweep-about"></p>
  <div class="sweep-charts">
    <section class="exp-panel sweep-main"><h4></h4><div class="sweep-key"><span class="sweep-legend"></span>
      <label class="sweep-paper"><input type="checkbox"> the paper's figures <small></small></label></div>
      <div class="exp-plot" role="img"></div><div class="exp-empty"></div></section>
    <section class="exp-panel sweep-fid" hidden><h4>FID of the generated images</h4><div class="sweep-key">lower is closer to real test images</div>
      <div class="exp-plot" role="img"></div></section>
  </div>
  <section class="exp-panel sweep-table"><table><thead></thead><tbody></tbody></table><p></p></section>`;

const inPoints = (share) => (share > 0 ? "+" : share < 0 ? "−" : "") + Math.abs(100 * share).toFixed(1);
const between = (low, high, form) => (low == null ? "" : " [" + form(low) + ", " + form(high) + "]");
const signed = (share) => (share < 0 ? "−" : "") + Math.abs(100 * share).toFixed(1);

class Sweep extends Experiment {
  constructor(host) {
    super(host, "sweep", SWEEP_SKELETON);
    this.box = this.at(".sweep-paper input");
    this.box.addEventListener("change", () => this.draw());
  }

  // Another study.
  begin() {
    const s = this.data.settings;
    this.view = s.against_seconds ? "seconds" : s.scale === "category" ? "dots" : "lines";
    this.box.checked = this.view === "dots";
    this.at(".sweep-about").replaceChildren(s.question, " ", element("em", {}, s.finding));
    this.at(".sweep-paper").hidden = !s.published.length;
    this.at(".sweep-paper small").textContent = s.setting;
    this.at(".sweep-fid").hidden = !s.samples;
    this.at(".sweep-charts").classList.toggle("two", Boolean(s.samples));
    Object.assign(this.root.dataset, { view: this.view, experiment: s.experiment });
  }

  get several() { return this.data.settings.series.length > 1; }
  get score() { return this.data.measure === "agreement" ? "agreement with the teacher" : "student's accuracy"; }

  rows() {
    return this.data.settings.seeds.flatMap((seed) => {
      const cells = this.data.cells.filter((cell) => cell.seed === seed), rows = [];
      for (let from = 0; from < cells.length; from += ROW_OF_SQUARES) rows.push(cells.slice(from, from + ROW_OF_SQUARES));
      return rows;
    });
  }

  title(name) { return this.data.settings.titles[name] ?? name; }
  place(x) { return this.data.settings.scale === "category" ? this.title(x) : this.data.symbol + " = " + Number(x); }
  name({ series, x }) { return (this.several ? this.title(series) + ", " : "") + this.place(x); }
  nameOf(cell) { return this.name(cell) + ", seed " + cell.seed; }
  cellsOf({ series, x }) { return this.data.cells.filter((cell) => cell.series === series && cell.x === x); }
  done(cells, figure = "final") { return cells.filter((cell) => this.data.figures[cell.key]?.[figure] != null); }
  isReference(row) { return Object.entries(this.data.settings.reference).every(([label, value]) => row[label] === value); }

  draw() {
    const d = this.data, done = Object.keys(d.figures).length, seen = done + Object.keys(d.live).length;
    this.root.dataset.points = done;
    const empty = this.at(".sweep-main .exp-empty");
    empty.hidden = seen > 0;
    empty.textContent = d.state === "stopped" ? "No run has ended yet. Continue goes on from where it stopped." : "The first point appears when the first run has been evaluated.";
    const drawn = JSON.stringify([d.study, d.cells.map(({ share, ...rest }) => rest), d.figures, d.live, this.box.checked, this.theme.background, !this.plotly, this.root.clientWidth > 1350]);
    if (drawn !== this.drawn) {
      this.drawn = drawn;
      this.charts();
    }
    this.table();
  }

  // --- charts ---

  charts() {
    const s = this.data.settings, node = this.at(".sweep-main .exp-plot"), panel = this.at(".sweep-main");
    this.at(".sweep-main h4").textContent = (this.score[0].toUpperCase() + this.score.slice(1)) + { lines: " over " + s.axis, dots: " by " + s.axis, seconds: " against the time that a run takes" }[this.view];
    const size = this.view === "dots" ? 120 + DOT_ROW * s.values.length + "px" : "";
    for (const one of [panel, this.at(".sweep-fid")]) one.style.height = size;
    this.paperShown = this.box.checked && s.published.length > 0;
    legend(this.at(".sweep-legend"), this.legendEntries());
    const [traces, layout] = this[this.view]("final", s.published);
    this.plot(node, traces, this.layout(layout), this.score + ": " + this.data.rows.filter((row) => row.n).map((row) => this.name(row) + " " + percent(row.mean)).join("; "));
    if (s.samples) {
      const [fid, about] = this.dots("fid", []);
      this.plot(this.at(".sweep-fid .exp-plot"), fid, this.layout(about), "FID: " + this.data.rows.filter((row) => row.fid != null).map((row) => this.name(row) + " " + row.fid.toFixed(2)).join("; "));
    }
  }

  legendEntries() {
    const s = this.data.settings, entries = [];
    if (this.several) s.series.forEach((name, index) => entries.push([this.title(name), this.paint(index), { dash: "dash", dot: "dot", dashdot: "dash", longdash: "dash" }[STROKES[index]] || ""]));
    else entries.push(["mean and 95 % interval over seeds", this.paint(0), this.view === "lines" ? "" : "point"]);
    entries.push(["single seeds", this.theme.muted, "point"]);
    if (this.data.teacher != null) entries.push(["teacher", this.theme.teacher, "dash"]);
    return entries;
  }

  paint(index) { return this.theme.palette[PAINTS[index % PAINTS.length]]; }
  big() { return this.root.clientWidth > 1350; }

  // Around all that is shown but the ends of intervals, which from two seeds reach anywhere.
  range(figure, published) {
    const values = Object.values(this.data.figures).map((figures) => figures[figure]).concat(figure === "final" ? Object.values(this.data.live) : []);
    if (figure === "final" && this.data.teacher != null) values.push(this.data.teacher);
    if (this.paperShown) values.push(...published.map(({ value }) => value));
    const known = values.filter((value) => value != null);
    if (!known.length) return figure === "final" ? [0, 1] : [0, 10];
    const low = Math.min(...known), high = Math.max(...known), edge = Math.max(0.12 * (high - low), figure === "final" ? 0.01 : 0.1);
    return [low - edge, high + edge];
  }

  scoreAxis(published, words = this.score) {
    const range = this.range("final", published);
    return { range, tickformat: range[1] - range[0] < 0.05 ? ".1%" : ".0%", title: { text: words, standoff: 6, font: { size: 12 } } };
  }

  words(row) {
    return `<b>${this.name(row)}</b><br>${percent(row.mean)}${between(row.low, row.high, signed)}, ${row.n} ${row.n === 1 ? "seed" : "seeds"}<br>best ${percent(row.best)}`
      + (row.difference == null ? "" : `<br>${inPoints(row.difference)}${between(row.difference_low, row.difference_high, signed)} points against ${this.reference(row)}`);
  }

  reference(row) {
    const { series, x } = this.data.settings.reference;
    return series ? this.title(series) : this.place(x ?? row.x);
  }

  seedTrace(cells, figure, at, colour) {
    const shown = this.done(cells, figure);
    const value = (cell) => this.data.figures[cell.key][figure];
    return {
      mode: "markers", cliponaxis: false, ...at(shown, value), marker: { color: colour, size: this.big() ? 7 : 6, opacity: 0.4 },
      text: shown.map((cell) => this.nameOf(cell) + "<br>" + (figure === "final" ? percent(value(cell)) : value(cell).toFixed(2))), hovertemplate: "%{text}<extra></extra>",
    };
  }

  // A run that goes on, where its student stands now.
  liveTrace(cells, at, colour) {
    const shown = cells.filter((cell) => this.data.live[cell.key] != null), value = (cell) => this.data.live[cell.key];
    return {
      mode: "markers", cliponaxis: false, ...at(shown, value), marker: { color: colour, size: 11, symbol: "circle-open-dot", line: { width: 2 } },
      text: shown.map((cell) => this.nameOf(cell) + "<br>so far " + percent(value(cell))), hovertemplate: "%{text}<extra></extra>",
    };
  }

  teacherTrace(x, y) {
    return { x, y, mode: "lines", line: { color: this.theme.teacher, width: 2, dash: "dash" }, hoverinfo: "skip" };
  }

  lines(figure, published) {
    const d = this.data, s = d.settings, log = s.scale === "log", ends = [s.values[0], s.values[s.values.length - 1]];
    const paper = this.paperShown ? published : [], all = [...s.values, ...paper.map(({ x }) => x)];
    const [least, most] = [Math.min(...all), Math.max(...all)].map((x) => (log ? Math.log10(x) : x)), edge = 0.06 * (most - least) || 0.1;
    const range = [least - edge, most + edge], span = range.map((x) => (log ? 10 ** x : x));
    const traces = d.teacher == null ? [] : [this.teacherTrace(span, [d.teacher, d.teacher])];
    s.series.forEach((series, index) => traces.push(...this.curve(series, index)));
    s.series.forEach((series, index) => {
      const own = paper.filter((one) => one.series === series);
      if (own.length) traces.push(this.paperTrace(own, own.map(({ x }) => x), own.map(({ value }) => value), this.paint(index)));
    });
    const ticks = [...new Set(all)].sort((one, other) => one - other);
    return [traces, {
      margin: { l: 62, r: 14, t: 10, b: 46 }, yaxis: this.scoreAxis(paper),
      xaxis: { type: log ? "log" : "linear", range, tickvals: ticks, ticktext: ticks.map(String), title: { text: s.axis, standoff: 6, font: { size: 12 } } },
    }];
  }

  curve(series, index) {
    const colour = this.paint(index), cells = this.data.cells.filter((cell) => cell.series === series);
    const rows = this.data.rows.filter((row) => row.series === series && row.n), sure = rows.filter((row) => row.low != null);
    const at = (shown, value) => ({ x: shown.map((cell) => cell.x), y: shown.map(value) });
    const edge = { x: sure.map((row) => row.x), mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
    return [
      { ...edge, y: sure.map((row) => row.low) },
      { ...edge, y: sure.map((row) => row.high), fill: "tonexty", fillcolor: faint(colour, this.several ? 0.1 : 0.18) },
      this.seedTrace(cells, "final", at, colour),
      {
        x: rows.map((row) => row.x), y: rows.map((row) => row.mean), mode: "lines+markers", line: { color: colour, width: this.big() ? 3 : 2.5, dash: STROKES[index % STROKES.length] },
        marker: { color: colour, size: this.big() ? 11 : 9, symbol: SYMBOLS[index % SYMBOLS.length] }, text: rows.map((row) => this.words(row)), hovertemplate: "%{text}<extra></extra>",
        ...(sure.length === 1 ? { error_y: this.bars(rows, "mean", "low", "high", colour) } : {}), // no band from one place
      },
      this.liveTrace(cells, at, colour),
    ];
  }

  bars(rows, mean, low, high, colour) {
    const gap = (from, to) => rows.map((row) => (row[low] == null ? 0 : row[to] - row[from]));
    return { type: "data", symmetric: false, array: gap(mean, high), arrayminus: gap(low, mean), color: colour, thickness: 2, width: 5 };
  }

  paperTrace(own, x, y, colour) {
    return {
      x, y, mode: "markers", cliponaxis: false, marker: { color: colour, size: this.big() ? 14 : 12, symbol: "diamond-open", line: { width: 2 } },
      text: own.map((one) => "the paper: " + percent(one.value, 2) + "<br>" + this.data.settings.setting), hovertemplate: "%{text}<extra></extra>",
    };
  }

  dots(figure, published) {
    const d = this.data, s = d.settings, score = figure === "final", rows = d.rows.filter((row) => row[score ? "mean" : "fid"] != null);
    const keys = score ? ["mean", "low", "high"] : ["fid", "fid_low", "fid_high"], level = (x) => s.values.indexOf(x);
    const at = (shift) => (shown, value) => ({ x: shown.map(value), y: shown.map((cell) => level(cell.x) + shift) });
    const paper = score && this.paperShown ? published : [], colour = this.paint(0), height = [-0.6, s.values.length - 0.4];
    const reference = rows.find((row) => this.isReference(row)), traces = [];
    if (score && d.teacher != null) traces.push(this.teacherTrace([d.teacher, d.teacher], height));
    if (reference) traces.push({ x: [reference[keys[0]], reference[keys[0]]], y: height, mode: "lines", line: { color: this.theme.muted, width: 1, dash: "dot" }, hoverinfo: "skip" });
    traces.push(this.seedTrace(d.cells, figure, at(0.24), colour), {
      x: rows.map((row) => row[keys[0]]), y: rows.map((row) => level(row.x)), mode: "markers", cliponaxis: false, error_x: this.bars(rows, ...keys, colour),
      marker: { color: colour, size: this.big() ? 12 : 10 }, text: rows.map((row) => (score ? this.words(row) : `<b>${this.name(row)}</b><br>FID ${row.fid.toFixed(2)}${between(row.fid_low, row.fid_high, (value) => value.toFixed(2))}`)),
      hovertemplate: "%{text}<extra></extra>",
    });
    if (score) traces.push(this.liveTrace(d.cells, at(0.24), colour));
    if (paper.length) traces.push(this.paperTrace(paper, paper.map(({ value }) => value), paper.map(({ x }) => level(x) - 0.24), this.theme.text));
    const label = d.fid_label.split(" in ").slice(0, 2).join(" in ");
    return [traces, {
      margin: { l: 20 + 7.2 * Math.max(...s.values.map((x) => this.title(x).length)), r: 14, t: 6, b: 44 },
      xaxis: score ? this.scoreAxis(paper) : { range: this.range("fid", []), title: { text: label, standoff: 6, font: { size: 12 } } },
      yaxis: { range: [...height].reverse(), tickvals: s.values.map((_, index) => index), ticktext: s.values.map((x) => this.title(x)), showgrid: false },
    }];
  }

  seconds() {
    const d = this.data, s = d.settings, traces = [], known = Object.values(d.figures).map(({ seconds }) => seconds), most = Math.max(1, ...known);
    if (d.teacher != null) traces.push(this.teacherTrace([0, 1.15 * most], [d.teacher, d.teacher]));
    d.rows.filter((row) => row.n).forEach((row) => {
      const index = s.values.indexOf(row.x), colour = this.paint(index), cells = this.cellsOf(row);
      traces.push(this.seedTrace(cells, "final", (shown, value) => ({ x: shown.map((cell) => d.figures[cell.key].seconds), y: shown.map(value) }), colour));
      traces.push({
        x: [row.seconds], y: [row.mean], mode: "markers+text", error_y: this.bars([row], "mean", "low", "high", colour), textposition: "top right", textfont: { color: colour, size: 13 },
        marker: { color: colour, size: this.big() ? 14 : 12, symbol: SYMBOLS[index % SYMBOLS.length] }, text: [this.title(row.x)],
        customdata: [this.words(row) + "<br>" + duration(row.seconds)], hovertemplate: "%{customdata}<extra></extra>",
      });
    });
    return [traces, {
      margin: { l: 62, r: 14, t: 14, b: 46 }, yaxis: this.scoreAxis([]),
      xaxis: { range: [0, 1.15 * most], title: { text: "seconds of a run on this machine, its evaluations included", standoff: 6, font: { size: 12 } } },
    }];
  }

  // --- the table ---

  table() {
    const d = this.data, s = d.settings, key = JSON.stringify([d.study, d.rows, d.cells, this.paperShown]);
    if (key === this.drawnTable) return;
    this.drawnTable = key;
    const grid = this.several && s.values.length > 1, [head, body] = grid ? this.crossed() : this.listed();
    this.at(".sweep-table thead").replaceChildren(element("tr", {}, ...head.map((words) => element("th", { scope: "col" }, words))));
    this.at(".sweep-table tbody").replaceChildren(...body);
    this.at(".sweep-table p").textContent = "Final accuracy, mean ± 95 % t-interval over seeds, in %; differences pair runs of the same seed, in points. Intervals are not corrected for how many there are.";
  }

  listed() {
    const s = this.data.settings, paper = this.paperShown, published = (row) => s.published.find((one) => one.series === row.series && one.x === row.x);
    const head = [s.scale === "category" ? s.axis : this.data.symbol, "final", "best", "runs", ...(s.samples ? ["FID"] : []), "time", "against " + this.reference({ x: "" }), ...(paper ? ["paper"] : [])];
    if (this.several) head[0] = "method";
    const body = this.data.rows.map((row) => element("tr", { dataset: { x: String(row.x), series: row.series } },
      element("th", { scope: "row" }, this.several ? this.title(row.series) : this.place(row.x)), element("td", {}, element("b", {}, this.plusMinus(row))),
      element("td", {}, row.best == null ? "–" : (100 * row.best).toFixed(1)), element("td", {}, this.runs(row)),
      ...(s.samples ? [element("td", {}, row.fid == null ? "–" : row.fid.toFixed(2) + (row.fid_low == null ? "" : " ± " + (row.fid_high - row.fid).toFixed(2)))] : []),
      element("td", {}, row.seconds == null ? "–" : duration(row.seconds)), this.difference("td", row),
      ...(paper ? [element("td", {}, published(row) ? (100 * published(row).value).toFixed(2) : "–")] : []),
    ));
    return [head, body];
  }

  // A row for each method, a column for each x.
  crossed() {
    const s = this.data.settings, head = ["against " + this.reference({}), ...s.values.map((x) => this.place(x))];
    const body = s.series.map((series) => element("tr", { dataset: { series } }, element("th", { scope: "row" }, this.title(series)), ...s.values.map((x) => {
      const row = this.data.rows.find((one) => one.series === series && one.x === x);
      const cell = element("td", { title: row.n ? "best " + percent(row.best) + ", " + duration(row.seconds) + " a run" : "" }, element("b", {}, this.plusMinus(row)), " ", this.runs(row));
      cell.append(this.difference("div", row));
      return cell;
    })));
    return [head, body];
  }

  plusMinus(row) { return row.mean == null ? "–" : (100 * row.mean).toFixed(1) + (row.low == null ? "" : " ± " + (100 * (row.high - row.mean)).toFixed(1)); }

  difference(tag, row) {
    const sure = row.difference_low != null && (row.difference_low > 0 || row.difference_high < 0);
    const words = row.difference == null ? (this.isReference(row) ? "reference" : "–") : inPoints(row.difference) + between(row.difference_low, row.difference_high, signed);
    return element(tag, { className: "sweep-difference", dataset: { clear: sure }, title: row.difference == null ? "" : sure ? "The interval is clear of zero" : row.pairs === 1 ? "One pair tells no interval" : "The interval holds zero: no clear difference" }, words);
  }

  // How many runs are done, and how far the one is that goes on.
  runs(row) {
    const cells = this.cellsOf(row), live = cells.find((cell) => ["running", "measuring", "queued", "paused"].includes(cell.state)), failed = cells.filter((cell) => cell.state === "failed").length;
    const made = element("span", { className: "sweep-runs" }, row.n + " / " + cells.length + (failed ? ", " + failed + " failed" : ""));
    if (live) {
      const bar = element("i", { title: this.nameOf(live) + ": " + whole(live.share) });
      bar.style.setProperty("--share", live.share);
      made.append(bar);
    }
    return made;
  }
}

export default function (component) {
  mount(component, (host) => new Sweep(host));
}
