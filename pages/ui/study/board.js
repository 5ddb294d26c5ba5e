// All runs of a grid as a table that one sorts by any of its columns; drawn while it is open.

import { element, once } from "../web/dom.js";
import { grouped } from "../web/numbers.js";

const named = (path) => String(path).replace(/^.*\//, "").replace(/\.json$/, "");

export class Board {
  constructor(grid, box) {
    Object.assign(this, { grid, box, by: "", up: true });
    box.addEventListener("toggle", () => this.show());
  }

  show() {
    const { cells, rows, vary, students } = this.grid.data;
    this.box.querySelector("summary").textContent = `All ${cells.length} runs as a table`;
    if (!this.box.open) return;
    const columns = this.columns(), on = [cells, rows, this.by, this.up];
    once(this.box.querySelector("thead"), [vary, students, this.grid.unit], (head) => {
      head.replaceChildren(element("tr", columns.map((column) => this.head(column))));
    });
    for (const th of this.box.querySelectorAll("thead th")) {
      th.setAttribute("aria-sort", th.dataset.name === this.by ? (this.up ? "ascending" : "descending") : "none");
    }
    once(this.box.querySelector("tbody"), on, (body) => {
      body.replaceChildren(...this.sorted(columns).map((cell) => this.line(columns, cell)));
    });
  }

  // [name, words, value that it is sorted by, and what is shown of it]
  columns() {
    const { data } = this.grid, rows = new Map(data.rows.filter(({ run }) => run).map((row) => [row.run, row]));
    const of = (name) => (cell) => cell[name], figure = (name) => (cell) => rows.get(cell.run)?.[name];
    const score = (name) => [name, `${name}, ${this.grid.unit}`, figure(name), (value) => this.grid.known(value)];
    const known = (value) => (value == null || value === "" ? "–" : String(value));
    return [
      ["run", "run", of("key"), (_, cell) => (cell.run ? this.grid.links(cell.run) : "no run")],
      ["teacher", "teacher", (cell) => named(cell.teacher), known],
      ...(data.students.length > 1 ? [["student", "student", of("student"), known]] : []),
      ["method", "method", of("method"), known],
      ["seed", "seed", of("seed"), known],
      ...data.vary.map((name) => [name, name.replaceAll("_", " "), of(name), known]),
      ["state", "state", of("state"), known],
      ["reason", "reason", of("message"), known],
      score("final"), score("best"),
      ["seconds", "seconds", figure("seconds"), (value) => (value == null ? "–" : grouped(Math.round(value)))],
    ];
  }

  head([name, words]) {
    const button = element("button", words);
    button.addEventListener("click", () => {
      Object.assign(this, { up: this.by !== name || !this.up, by: name });
      this.show();
    });
    return element("th", { scope: "col", dataset: { name } }, button);
  }

  // What has no value comes last, whichever way.
  sorted(columns) {
    const value = columns.find(([name]) => name === this.by)?.[2], cells = [...this.grid.data.cells];
    if (!value) return cells;
    const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(b));
    const missing = (one) => one == null || one === "";
    return cells.sort((first, second) => {
      const [a, b] = [value(first), value(second)];
      return missing(a) || missing(b) ? missing(a) - missing(b) : (this.up ? 1 : -1) * order(a, b);
    });
  }

  line(columns, cell) {
    const [[, , of, shown], ...rest] = columns;
    const fields = rest.map(([name, , value, words]) => element(`td.board-${name}`, words(value(cell), cell)));
    return element("tr", element("th", { scope: "row" }, shown(of(cell), cell)), fields);
  }
}
