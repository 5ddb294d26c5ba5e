// Two teachers side by side, each with one curve for each family of methods: the student's accuracy as it trains.

import { element } from "../web/dom.js";
import { mounting } from "../web/mount.js";
import { percent } from "../web/numbers.js";
import { line, margins, PERCENT, SHARES, titled } from "../web/plot.js";
import { CHART, Experiment } from "./experiment.js";

const DASHES = ["dash", "dot", "dashdot", "solid"];
const PAINTS = [1, 3, 6, 0]; // of the palette; the last one, TA-DFKD, as students are drawn
const FELL = 0.1; // below the best value, from which a curve is said to have fallen
const SAID = ["failed", "waiting", "stopped", "paused", "interrupted"];
const TABLE = `
  <table><thead><tr><th>terms of the generator</th><th class="lesson-now"></th><th>best</th><th>run</th></tr></thead>
    <tbody></tbody></table>`;

class Lesson extends Experiment {
  constructor(host) { super(host, "lesson", `<div class="lesson-grid"></div>`); }

  // Another study.
  begin() {
    const panels = this.data.teachers.map(({ name: teacher, title }) => {
      const about = { dataset: { teacher }, innerHTML: CHART + TABLE };
      const panel = element("section.exp-panel.lesson-panel", about);
      panel.prepend(element("h4", "Teacher: " + title));
      return panel;
    });
    this.at(".lesson-grid").replaceChildren(...panels);
  }

  asOf(data, share) {
    const last = share * data.steps;
    const until = (course) => {
      const count = course.curve.x.filter((step) => step <= last).length;
      const x = course.curve.x.slice(0, count), y = course.curve.y.slice(0, count);
      return { ...course, curve: { x, y }, now: y.at(-1) ?? null, best: y.length ? Math.max(...y) : null };
    };
    const courses = Object.fromEntries(Object.entries(data.courses).map(([key, course]) => [key, until(course)]));
    return { ...data, courses, state: "running" };
  }

  rows() { return this.data.teachers.map(({ name }) => this.data.cells.filter((cell) => cell.teacher === name)); }
  nameOf(cell) { return `${cell.variant}, ${cell.teacher}`; }

  draw() {
    const { courses, state, cells } = this.data;
    const points = Object.values(courses).reduce((sum, { curve }) => sum + curve.x.length, 0);
    this.root.dataset.points = points;
    const now = state === "done" ? "final" : "now";
    this.root.querySelectorAll(".lesson-now").forEach((cell) => { cell.textContent = now; });
    const panels = this.root.querySelectorAll(".lesson-panel");
    this.once([cells, points], () => panels.forEach((panel) => this.panel(panel)));
  }

  look(index) {
    const place = index % DASHES.length;
    return { color: this.theme.palette[PAINTS[place]], dash: DASHES[place] };
  }

  panel(panel) {
    const { cells, courses, steps, variants } = this.data;
    const own = cells.filter((cell) => cell.teacher === panel.dataset.teacher);
    const found = own.map((cell) => courses[cell.key]);
    const teacher = found.find((course) => course?.teacher != null)?.teacher;
    const traces = own.flatMap((cell, index) => {
      if (!found[index]) return [];
      const { color, dash } = this.look(index);
      const width = cell.variant === variants.at(-1) ? 3.5 : 2.5;
      return [line(found[index].curve, cell.variant, color, { width, dash }, PERCENT)];
    });
    const ends = { x: [0, steps], y: [teacher, teacher] };
    if (teacher != null) traces.unshift(line(ends, "teacher", this.theme.teacher, { dash: "dash" }, PERCENT));
    const agreement = found.some((course) => course?.score === "agreement");
    const layout = {
      hovermode: "x unified", ...margins(58, 8, 8, 40), xaxis: { ...titled("training step"), range: [0, steps] },
      yaxis: { ...titled(agreement ? "agreement with the teacher" : "student's accuracy", 4), ...SHARES },
    };
    const about = `Student's course with teacher ${panel.dataset.teacher}: ${variants.join(", ")}`;
    const plot = panel.querySelector(".exp-plot");
    this.plot(plot, traces, layout, about)?.then(() => this.sharePointer(plot));
    const lines = own.map((cell, index) => this.line(cell, found[index], this.look(index)));
    if (teacher != null) lines.push(this.teacherLine(teacher));
    panel.querySelector("tbody").replaceChildren(...lines);
  }

  // Both panels say what the same step came to.
  sharePointer(plot) {
    if (plot.dataset.shares) return;
    plot.dataset.shares = "1";
    const others = () => [...this.root.querySelectorAll(".exp-plot")].filter((node) => node !== plot && node.data);
    const { Fx } = this.plots.plotly;
    plot.on("plotly_hover", ({ xvals }) => others().forEach((node) => Fx.hover(node, { xval: xvals[0] }, "xy", true)));
    plot.on("plotly_unhover", () => others().forEach((node) => Fx.unhover(node)));
  }

  line(cell, course, { color, dash }) {
    const share = (value) => (value == null ? "–" : percent(value));
    const { variant, state, run } = cell, shown = state === "queued" ? "waiting" : state;
    const about = SAID.includes(shown) ? element("small", " " + shown) : "";
    const fell = course && course.best - course.now >= FELL;
    return element(
      "tr", { dataset: { variant, state } }, element("td", swatch(color, dash), variant, about),
      element("td", { className: fell ? "fell" : "" }, share(course?.now)), element("td", share(course?.best)),
      element("td", run && this.links(run)),
    );
  }

  teacherLine(teacher) {
    const first = element("td", swatch(this.theme.teacher, "dash"), "the teacher itself");
    return element("tr", first, element("td", percent(teacher)), element("td"), element("td"));
  }
}

const swatch = (color, dash) => element("s", { className: dash, style: { color } });

export default mounting(Lesson);
