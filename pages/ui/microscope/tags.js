// Words that people attach to samples: kept in the run, shown as coloured chips.

class Tags {
  constructor(bar, scope) {
    this.bar = bar;
    this.scope = scope;
    this.sheets = new Map(); // "samples 100" -> Map of index -> tags
    this.input = bar.querySelector("input");
    bar.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.add();
    });
    bar.querySelector(".scope-undo").addEventListener("click", () => scope.order("undo"));
  }

  get version() {
    return this.scope.data?.tags.version + "/" + this.stamp;
  }

  // Of the whole run, and those just given that Python has not told of yet.
  get names() {
    const fresh = [...this.sheets.values()].flatMap((sheet) => [...sheet.values()].flat());
    return [...new Set([...Object.keys(this.scope.data.tags.counts), ...fresh])].sort();
  }

  colour(name) {
    return classColour(this.scope.theme, Math.max(0, this.names.indexOf(name)));
  }

  of(frame, index) {
    return this.sheets.get(frame.source + " " + frame.step)?.get(index) || [];
  }
  coloursOf(frame, index) {
    return this.sheets.size ? this.of(frame, index).map((name) => this.colour(name)) : [];
  }
  colourOf(frame, index) {
    return this.coloursOf(frame, index)[0];
  }

  // Asked for again when the file has changed; what was known is shown until then.
  refresh(frame) {
    const key = ["tags", this.scope.data.tags.version, frame.source, frame.step].join(" ");
    const found = this.scope.need(key);
    if (!found || this.seen === key) return;
    this.seen = key;
    this.stamp = (this.stamp || 0) + 1;
    this.sheets.set(
      frame.source + " " + frame.step,
      new Map(Object.entries(found).map(([index, tags]) => [Number(index), tags])),
    );
  }

  // --- hands ---

  add() {
    const tag = this.input.value.trim();
    const indices = this.scope.selection.indices();
    if (!tag || !indices.length) return;
    this.order("tag", tag, indices);
    this.input.value = "";
  }

  remove(tag) {
    this.order("untag", tag, this.scope.selection.indices());
  }

  // Shown at once; what Python answers counts in the end.
  order(name, tag, indices) {
    const { frame } = this.scope;
    const key = frame.source + " " + frame.step;
    const sheet = new Map(this.sheets.get(key));
    for (const index of indices) {
      const others = (sheet.get(index) || []).filter((known) => known !== tag);
      sheet.set(index, name === "tag" ? [...others, tag].sort() : others);
    }
    this.sheets.set(key, sheet);
    this.stamp = (this.stamp || 0) + 1;
    this.scope.order(name, { tag, indices, source: frame.source, step: frame.step });
    this.scope.refresh();
  }

  // --- drawing ---

  draw() {
    const { frame, selection, data, theme } = this.scope;
    this.bar.querySelector("button[type=submit]").disabled = !selection.size;
    this.bar.querySelector(".scope-undo").disabled = !data.tags.undo;
    const key = [this.version, this.scope.selections, frame?.source, frame?.step, theme.background].join("|");
    if (key === this.drawn) return;
    this.drawn = key;
    const chips = this.names.map((name) => this.chip(name)).filter(Boolean);
    this.bar.querySelector(".scope-chips").replaceChildren(...chips);
    this.bar.querySelector("datalist").replaceChildren(...this.names.map((name) => element("option", { value: name })));
  }

  chip(name) {
    const { frame, selection } = this.scope;
    const sheet = frame && this.sheets.get(frame.source + " " + frame.step);
    const members = [...(sheet || [])].filter(([, tags]) => tags.includes(name)).map(([index]) => index);
    const everywhere = Math.max(members.length, this.scope.data.tags.counts[name] || 0);
    const pick = element("button", { title: `Select the ${members.length} of this step; ${everywhere} in all steps` });
    pick.append(element("s"), name + " " + members.length);
    pick.addEventListener("click", (event) => this.scope.selection.take(members, howTo(event)));
    const off = element(
      "button",
      { title: `Take “${name}” off the selected samples`, "aria-label": `Remove tag ${name}` },
      "✕",
    );
    off.disabled = !members.some((index) => selection.has(index));
    off.addEventListener("click", () => this.remove(name));
    const chip = element("span", { className: "scope-chip" }, pick, off);
    chip.style.setProperty("--chip", this.colour(name));
    return chip;
  }
}
