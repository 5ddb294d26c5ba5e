// Words that people attach to samples: kept in the run, shown as coloured chips.

import { element, once, pressable } from "../web/dom.js";
import { classColour } from "../web/theme.js";
import { howTo } from "./samples.js";

export class Tags {
  constructor(bar, scope) {
    Object.assign(this, { bar, scope });
    this.sheets = new Map(); // "samples 100" -> Map of index -> tags
    this.input = bar.querySelector("input");
    bar.querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); this.add(); });
    bar.querySelector(".scope-undo").addEventListener("click", () => scope.order("undo"));
  }

  get version() { return this.scope.data?.tags.version + "/" + this.stamp; }

  // Of the whole run, and those just given that Python has not told of yet.
  get names() {
    const fresh = [...this.sheets.values()].flatMap((sheet) => [...sheet.values()].flat());
    return [...new Set([...Object.keys(this.scope.data.tags.counts), ...fresh])].sort();
  }

  colour(name) { return classColour(this.scope.theme, Math.max(0, this.names.indexOf(name))); }

  // The tags of the samples of a frame: index -> names.
  sheet(frame) { return this.sheets.get(`${frame.source} ${frame.step}`) ?? new Map(); }
  coloursOf(frame, index) {
    if (!this.sheets.size) return [];
    return (this.sheet(frame).get(index) ?? []).map((name) => this.colour(name));
  }
  colourOf(frame, index) { return this.coloursOf(frame, index)[0]; }

  keep(frame, sheet) {
    this.sheets.set(`${frame.source} ${frame.step}`, sheet);
    this.stamp = (this.stamp || 0) + 1;
  }

  // Asked for again when the file has changed; what was known is shown until then.
  refresh(frame) {
    const key = ["tags", this.scope.data.tags.version, frame.source, frame.step].join(" ");
    const found = this.scope.need(key);
    if (!found || this.seen === key) return;
    this.seen = key;
    this.keep(frame, new Map(Object.entries(found).map(([index, tags]) => [Number(index), tags])));
  }

  add() {
    const tag = this.input.value.trim(), indices = this.scope.selection.indices();
    if (!tag || !indices.length) return;
    this.order("tag", tag, indices);
    this.input.value = "";
  }

  // Shown at once; what Python answers counts in the end.
  order(name, tag, indices) {
    const { frame } = this.scope;
    const sheet = new Map(this.sheet(frame));
    for (const index of indices) {
      const others = (sheet.get(index) || []).filter((known) => known !== tag);
      sheet.set(index, name === "tag" ? [...others, tag].sort() : others);
    }
    this.keep(frame, sheet);
    this.scope.order(name, { tag, indices, source: frame.source, step: frame.step });
    this.scope.refresh();
  }

  draw() {
    const { frame, selection, selections, data, theme } = this.scope;
    this.bar.querySelector("button[type=submit]").disabled = !selection.size;
    this.bar.querySelector(".scope-undo").disabled = !data.tags.undo;
    once(this.bar, [this.version, selections, frame?.source, frame?.step, theme.key], () => {
      const { names } = this;
      this.bar.querySelector(".scope-chips").replaceChildren(...names.map((name) => this.chip(name)));
      this.bar.querySelector("datalist").replaceChildren(...names.map((value) => element("option", { value })));
    });
  }

  chip(name) {
    const { frame, selection, data } = this.scope;
    const sheet = frame ? [...this.sheet(frame)] : [];
    const members = sheet.filter(([, tags]) => tags.includes(name)).map(([index]) => index);
    const everywhere = Math.max(members.length, data.tags.counts[name] || 0);
    const all = { title: `Select the ${members.length} of this step; ${everywhere} in all steps` };
    const pick = pressable(`${name} ${members.length}`, (event) => selection.take(members, howTo(event)), all);
    pick.prepend(element("s"));
    const about = { title: `Take “${name}” off the selected samples`, "aria-label": `Remove tag ${name}` };
    const off = pressable("✕", () => this.order("untag", name, selection.indices()), about);
    off.disabled = !members.some((index) => selection.has(index));
    return element("span.scope-chip", { style: { "--chip": this.colour(name) } }, pick, off);
  }
}
