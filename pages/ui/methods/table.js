// The table of all methods. A name opens its method, two that are ticked are laid beside each other.

import { element, pressable } from "../web/dom.js";
import { mounting } from "../web/mount.js";
import { Questions } from "../web/questions.js";
import { themeOf } from "../web/theme.js";

const BN = "Acts only where the teacher has BatchNorm layers";
const HEAD = [ // what a column is of, its heading, whether rows are sorted by it
  ["title", "Method", true], ["images", "Images come from"], ["terms", "Terms, by what they move"],
  ["student", "The student matches"], ["kept", "Kept of images"], ["steps", "Steps", true],
  ["asked", "Teacher queries a step", true],
];
const TEXTS = ["images", "student", "kept", "steps", "asked"];

class Methods {
  constructor(host) {
    this.root = element("div.dfkd-view.methods-table");
    this.compare = pressable("", () => this.open([...this.ticked]), { className: "methods-compare" });
    this.box = element("div.methods-scroll");
    this.count = element("span");
    this.root.append(element("div.methods-bar", this.compare, this.count), this.box);
    host.append(this.root);
    this.questions = new Questions(this.root, () => ({ of: "table" }));
    Object.assign(this, { ticked: new Set(), by: null, down: false });
  }

  update(data, setStateValue) {
    this.data = data;
    themeOf(this.root);
    this.questions.answered(data, [], setStateValue);
    const names = data.rows.map(({ name }) => name);
    this.ticked = new Set([...this.ticked].filter((name) => names.includes(name)));
    this.draw();
  }

  open(methods) { this.questions.order("open", { methods }); }

  draw() {
    const key = JSON.stringify([this.data.rows, this.by, this.down]);
    if (key !== this.drawn) this.box.replaceChildren(this.table());
    this.drawn = key;
    this.say();
  }

  say() {
    const left = 2 - this.ticked.size, { rows, preset } = this.data;
    const methods = rows.length === 1 ? "One method" : `${rows.length} methods`;
    this.count.textContent = `${methods}, with the knobs of ${preset}`;
    this.compare.disabled = left > 0;
    const what = left === 1 ? "Tick one more to compare" : "Tick two to compare";
    this.compare.textContent = left > 0 ? what : "Compare the two that are ticked";
    this.box.querySelectorAll("input").forEach((box) => { box.disabled = left <= 0 && !box.checked; });
  }

  table() {
    const head = element("tr", HEAD.map((column) => this.heading(...column)));
    const rows = this.sorted().map((row) => this.row(row));
    return element("table", { "aria-label": "All methods" }, element("thead", head), element("tbody", rows));
  }

  heading(name, words, sorts = false) {
    const on = this.by === name, order = !on ? "none" : this.down ? "descending" : "ascending";
    const label = sorts ? pressable(words, () => this.sort(name), { className: on ? "on" : "" }) : words;
    if (sorts) label.append(element("i", on ? (this.down ? " ▾" : " ▴") : " ▵"));
    return element("th", { scope: "col", "aria-sort": sorts ? order : null, dataset: { column: name } }, label);
  }

  sort(name) {
    this.down = this.by === name && !this.down;
    this.by = name;
    this.draw();
  }

  // What has no number comes last.
  sorted() {
    if (!this.by) return this.data.rows;
    const sign = this.down ? -1 : 1, of = ({ order }) => order[this.by];
    return [...this.data.rows].sort((one, other) => {
      const [a, b] = [of(one), of(other)];
      if (a === b) return 0;
      if (a == null || b == null) return a == null ? 1 : -1;
      return a < b ? -sign : sign;
    });
  }

  row(row) {
    const cells = Object.fromEntries(TEXTS.map((name) => [name, this.text(name, row[name])]));
    cells.terms = element("td", { dataset: { column: "terms" } }, row.terms.map((group) => this.terms(group)));
    const rest = HEAD.slice(1).map(([name]) => cells[name]);
    return element("tr", { dataset: { method: row.name } }, this.name(row), rest);
  }

  name({ name, title, href, needs }) {
    const open = element("a", { href }, title);
    open.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.open([name]);
    });
    const checked = this.ticked.has(name);
    const tick = element("input", { type: "checkbox", checked, "aria-label": `Compare ${title}` });
    tick.addEventListener("change", () => {
      this.ticked[tick.checked ? "add" : "delete"](name);
      this.say();
    });
    return element("th", { scope: "row" }, tick, open, needs && element("small", needs));
  }

  text(name, [words, more]) {
    return element("td", { dataset: { column: name } }, words, more ? element("small", more) : null);
  }

  terms([moved, terms]) {
    const chips = terms.map(({ name, batch_norm }) =>
      element(batch_norm ? "b.bn" : "b", { title: batch_norm ? BN : null }, name));
    return element("div.methods-terms", element("small", moved), chips);
  }
}

export default mounting(Methods);
