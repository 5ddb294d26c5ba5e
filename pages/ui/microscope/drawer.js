// One sample at large: what both networks say of it, who lies near, and the same latent at other steps.

import { element, once, pressable } from "../web/dom.js";
import { brief, percent, whole } from "../web/numbers.js";

const LISTED = 10; // classes shown by name; the others in one line
const FLAGGED =
  "⚑ The teacher is surer of it than of any clean sample: the mixture's wide component wins below the narrow one.";

export class Drawer {
  constructor(node, scope) { Object.assign(this, { node, scope }); }

  draw() {
    const { scope, node } = this, { frame, opened, run, verdicts, theme, tags } = scope;
    node.hidden = !frame || opened == null;
    if (node.hidden) {
      delete node.dataset.key;
      return;
    }
    node.dataset.side = scope.openedFrom;
    const { source, step } = frame;
    const detail = scope.need(["detail", source, step, opened].join(" "));
    const film = source === "probes" ? scope.need(`film ${opened} ${scope.data.steps.probes.length}`) : null;
    const there = [!detail, film?.ready, scope.real?.ready];
    once(node, [run, source, step, opened, ...there, verdicts, theme.key, tags.version], () => {
      const scrolled = node.scrollTop;
      node.replaceChildren(this.head(frame, opened), this.body(frame, opened, detail, film));
      node.scrollTop = scrolled;
      const tiles = node.querySelector(".scope-film .scope-strip");
      const current = tiles?.querySelector("[aria-current=true]");
      if (current) tiles.scrollLeft = current.offsetLeft - tiles.offsetLeft - tiles.clientWidth / 2;
    });
  }

  head(frame, index) {
    const about = { title: "Close (Escape)", "aria-label": "Close" };
    const close = pressable("✕", () => this.scope.close(), about);
    const name = frame.source === "probes" ? "Latent " + index : "Sample " + index;
    return element("header", {}, element("h4", {}, name, element("span", {}, "step " + frame.step)), close);
  }

  body(frame, index, detail, film) {
    const hint = (words) => element("p", { className: "scope-hint" }, words);
    const parts = [this.facts(frame, index, detail), ...this.overTime(frame, film)];
    if (detail === undefined) parts.push(hint("Looking…"));
    else if (detail?.teacher) parts.push(this.distributions(detail));
    else parts.push(hint("This run kept no class distributions of its samples."));
    return element("div", {}, ...parts, ...this.neighbours(frame, detail));
  }

  facts(frame, index, detail) {
    const { scope } = this, { verdict } = scope, clean = verdict.clean[index];
    const row = (name, value, title) => [element("dt", { title }, name), element("dd", {}, value)];
    const tried = verdict.hypothetical ? " (what-if)" : "";
    const teacher = `${scope.className(frame.label[index])}, ${percent(frame.confidence[index])}`;
    const facts = [
      row("verdict", (clean ? "clean" : "rejected") + tried, "Posterior above τ, or not"),
      row("teacher", teacher, "Argmax and softmax"),
      row("student", scope.className(frame.student_label[index]), "The student's argmax"),
      row("loss", brief(frame.loss[index]) + " nats", "Cross-entropy of the teacher with its own argmax"),
    ];
    if (frame.posterior) facts.push(row("posterior", frame.posterior[index].toFixed(4), "P(low component | loss)"));
    if (detail?.inside != null) {
      const help = "Of the real class that the teacher names, in the teacher's features";
      facts.push(row("boundary", detail.inside ? "★ inside" : "× outside", help));
    }
    if (verdict.flagged[index]) facts.push([element("dd", { className: "scope-flag" }, FLAGGED)]);
    const image = this.picture(frame, index, 112, clean ? "clean" : "rejected");
    return element("div", { className: "scope-facts" }, image, element("dl", {}, ...facts.flat()));
  }

  // At twice the size, for screens that show it sharper.
  picture(frame, index, side, className) {
    const about = { width: side * 2, height: side * 2, className, role: "img", "aria-label": this.scope.words(index) };
    const canvas = element("canvas", { ...about, style: { width: side + "px", height: side + "px" } });
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = frame.width > side;
    frame.square(context, index, 0, 0, side * 2);
    return canvas;
  }

  // Both answers class by class, the likeliest first; what is left over in one line.
  distributions({ teacher, student }) {
    const likeliest = teacher.map((value, label) => [Math.max(value, student?.[label] ?? 0), label]);
    const order = likeliest.sort((a, b) => b[0] - a[0]).map(([, label]) => label);
    const named = order.length <= LISTED + 1 ? order.sort((a, b) => a - b) : order.slice(0, LISTED);
    const rest = order.length > named.length ? order.slice(LISTED) : [];
    const sum = (values) => rest.reduce((total, label) => total + values[label], 0);
    const lines = named.map((label) => this.line(this.scope.className(label), teacher[label], student?.[label]));
    if (rest.length) lines.push(this.line(rest.length + " others", sum(teacher), student && sum(student)));
    const legend = ["teacher", "student"].map((who) => element("i", { className: who }, who));
    const heading = element("h5", {}, "Class distributions", element("span", {}, ...legend));
    return element("section", {}, heading, element("div", { className: "scope-bars" }, ...lines.flat()));
  }

  line(name, teacher, student) {
    const bar = (who, value) => element("u", { className: who, style: { width: 100 * value + "%" } });
    const bars = element("span", {}, bar("teacher", teacher), ...(student == null ? [] : [bar("student", student)]));
    const words = whole(teacher) + (student == null ? "" : " · " + whole(student));
    return [element("b", { title: name }, name), bars, element("small", {}, words)];
  }

  neighbours(frame, detail) {
    const { scope } = this, found = [];
    const tiles = (sheet, near, kind, words, act = () => {}) =>
      near.map(([index, distance]) =>
        this.tile(sheet, index, kind, words(index), () => act(index), distance.toFixed(2)),
      );
    if (detail?.nearest_real?.length && scope.real?.ready) {
      const real = tiles(scope.real, detail.nearest_real, "real", (index) => scope.realWords(index));
      found.push(strip("Nearest real images", "distance in the teacher's features", real));
    }
    if (detail?.nearest_clean?.length) {
      const words = (index) => scope.words(index);
      const clean = tiles(frame, detail.nearest_clean, "clean", words, (index) => scope.jump(index));
      found.push(strip("Nearest clean images", "of this step", clean));
    }
    return found;
  }

  // The same latent at other steps.
  overTime(frame, sheet) {
    if (frame.source !== "probes" || !sheet?.ready || !sheet.steps.length) return [];
    const tiles = sheet.steps.map(({ step, label, clean }, nth) => {
      const name = this.scope.className(label);
      const verdict = clean ? "clean" : "rejected";
      const words = `At step ${step}: ${verdict}, the teacher says ${name}`;
      const caption = [element("b", {}, name), " " + step];
      const tile = this.tile(sheet, nth, verdict, words, () => this.scope.goTo(step), ...caption);
      tile.title = "Go to step " + step;
      tile.setAttribute("aria-current", String(step === frame.step));
      return tile;
    });
    const made = strip("This latent at other steps", "class and step; click to go there", tiles);
    made.classList.add("scope-film");
    return [made];
  }

  tile(sheet, index, kind, words, act, ...caption) {
    const about = { className: "scope-tile " + kind, title: words, "aria-label": words };
    const tile = pressable(sheet.tile(index), act, about);
    tile.append(element("small", {}, ...caption));
    return tile;
  }
}

function strip(name, note, tiles) {
  const heading = element("h5", {}, name, element("span", {}, note));
  return element("section", {}, heading, element("div", { className: "scope-strip" }, ...tiles));
}
