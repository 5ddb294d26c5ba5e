// Two teachers side by side, each with one curve for each family of methods: the student's accuracy as it trains.

const DASHES = ["dash", "dot", "dashdot", "solid"], PAINTS = [1, 3, 6, 0]; // the last one, TA-DFKD, as students are drawn

class Lesson extends Experiment {
  constructor(host) {
    super(host, "lesson", `<div class="lesson-grid"></div>`);
  }

  // Another study.
  begin() {
    this.at(".lesson-grid").replaceChildren(...this.data.teachers.map(({ name, title }) => {
      const panel = element("section", { className: "exp-panel lesson-panel", dataset: { teacher: name } });
      panel.innerHTML = `<h4></h4><div class="exp-plot" role="img"></div><table><thead><tr><th>generator is told</th><th class="lesson-now"></th><th>best</th><th>run</th></tr></thead><tbody></tbody></table>`;
      panel.querySelector("h4").textContent = "Teacher: " + title;
      return panel;
    }));
  }

  rows() { return this.data.teachers.map(({ name }) => this.data.cells.filter((cell) => cell.teacher === name)); }
  nameOf(cell) { return cell.variant + ", " + cell.teacher; }

  draw() {
    const points = Object.values(this.data.courses).reduce((sum, course) => sum + course.curve.x.length, 0);
    this.root.dataset.points = points;
    this.root.querySelectorAll(".lesson-now").forEach((cell) => { cell.textContent = this.data.state === "done" ? "final" : "now"; });
    const key = JSON.stringify([this.data.cells, points, this.theme.background, !this.plotly, this.root.clientWidth > 1350]);
    if (key === this.drawn) return;
    this.drawn = key;
    this.root.querySelectorAll(".lesson-panel").forEach((panel) => this.panel(panel));
  }

  paint(index) { return this.theme.palette[PAINTS[index % PAINTS.length]]; }

  panel(panel) {
    const d = this.data, cells = d.cells.filter((cell) => cell.teacher === panel.dataset.teacher);
    const courses = cells.map((cell) => d.courses[cell.key]);
    const teacher = courses.find((course) => course?.teacher != null)?.teacher;
    const traces = teacher == null ? [] : [{ x: [0, d.steps], y: [teacher, teacher], name: "teacher", mode: "lines", line: { color: this.theme.teacher, width: 2, dash: "dash" }, hovertemplate: "%{y:.1%}" }];
    cells.forEach((cell, index) => {
      const course = courses[index], last = d.variants.indexOf(cell.variant) === d.variants.length - 1;
      if (course) traces.push({ ...course.curve, name: cell.variant, mode: "lines", line: { color: this.paint(index), width: last ? 3.5 : 2.5, dash: DASHES[index % DASHES.length] }, hovertemplate: "%{y:.1%}" });
    });
    const agreement = courses.some((course) => course?.score === "agreement");
    const layout = this.layout({
      hovermode: "x unified", margin: { l: 58, r: 8, t: 8, b: 40 },
      xaxis: { range: [0, d.steps], title: { text: "training step", standoff: 2, font: { size: 12 } } },
      yaxis: { range: [0, 1.02], tickformat: ".0%", title: { text: agreement ? "agreement with the teacher" : "student's accuracy", standoff: 4, font: { size: 12 } } },
    });
    this.plot(panel.querySelector(".exp-plot"), traces, layout, "Student's course with teacher " + panel.dataset.teacher + ": " + d.variants.join(", "));
    this.table(panel.querySelector("tbody"), cells, courses, teacher);
  }

  table(body, cells, courses, teacher) {
    const share = (value) => (value == null ? "–" : percent(value));
    const rows = cells.map((cell, index) => {
      const swatch = element("s", { className: DASHES[index % DASHES.length] }), course = courses[index];
      swatch.style.color = this.paint(index);
      const links = cell.run ? [["Distill", this.distill(cell.run)], ["Inspect", this.inspect(cell.run)]] : [];
      const made = links.flatMap(([words, href], place) => [place ? " · " : "", element("a", { href, target: "_blank", rel: "noopener" }, words)]);
      const fell = course && course.best - course.now >= 0.1;
      const about = { failed: "failed", waiting: "waiting", queued: "waiting", stopped: "stopped", interrupted: "interrupted", paused: "paused" }[cell.state];
      return element("tr", { dataset: { variant: cell.variant, state: cell.state } },
        element("td", {}, swatch, cell.variant, about ? element("small", {}, " " + about) : ""),
        element("td", { className: fell ? "fell" : "" }, share(course?.now)), element("td", {}, share(course?.best)), element("td", {}, ...made));
    });
    if (teacher != null) {
      const swatch = element("s", { className: "dash" });
      swatch.style.color = this.theme.teacher;
      rows.push(element("tr", {}, element("td", {}, swatch, "the teacher itself"), element("td", {}, share(teacher)), element("td"), element("td")));
    }
    body.replaceChildren(...rows);
  }
}

export default function (component) {
  mount(component, (host) => new Lesson(host));
}
