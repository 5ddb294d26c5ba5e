// One sample at large: what both networks say of it, who lies near, and the same latent at other steps.

import { element, once, pressable, refilled } from "../web/dom.js";
import { brief, percent, whole } from "../web/numbers.js";

const LISTED = 10; // classes shown by name; the others in one line
const FLAGGED =
  "⚑ The teacher is surer of it than of any clean sample: the mixture's wide component wins below the narrow one.";

export class Drawer {
  constructor(node, scope) { Object.assign(this, { node, scope }); }

  draw() {
    const { scope, node } = this, { frame, opened, run, verdicts, theme, tags } = scope;
    node.hidden = !frame || opened == null;
    if (node.hidden) return delete node.dataset.key;
    node.dataset.side = scope.openedFrom;
    const { source, step } = frame;
    const detail = scope.need(["detail", source, step, opened].join(" "));
    const film = source === "probes" ? scope.need(`film ${opened} ${scope.data.steps.probes.length}`) : null;
    const there = [!detail, film?.ready, scope.real?.ready];
    once(node, [run, source, step, opened, ...there, verdicts, theme.key, tags.version], () => {
      refilled(node, this.head(frame, opened), this.body(frame, opened, detail, film));
      const tiles = node.querySelector(".scope-film .scope-strip");
      const current = tiles?.querySelector("[aria-current=true]");
      if (current) tiles.scrollLeft = current.offsetLeft - tiles.offsetLeft - tiles.clientWidth / 2;
    });
  }

  head(frame, index) {
    const about = { title: "Close (Escape)", "aria-label": "Close" };
    const close = pressable("✕", () => this.scope.close(), about);
    const name = frame.source === "probes" ? "Latent " + index : "Sample " + index;
    return element("header", element("h4", name, element("span", "step " + frame.step)), close);
  }

  body(frame, index, detail, film) {
    const none = detail === undefined ? "Looking…" : "This run kept no class distributions of its samples.";
    const answers = detail?.teacher ? this.distributions(detail) : element("p.scope-hint", none);
    const parts = [this.facts(frame, index, detail), this.overTime(frame, film), answers];
    return element("div", parts, this.neighbours(frame, detail));
  }

  facts(frame, index, detail) {
    const { scope } = this, { verdict } = scope, clean = verdict.clean[index];
    const row = (name, value, title) => [element("dt", { title }, name), element("dd", value)];
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
    if (verdict.flagged[index]) facts.push([element("dd.scope-flag", FLAGGED)]);
    const image = this.picture(frame, index, 112, clean ? "clean" : "rejected");
    return element("div.scope-facts", image, element("dl", ...facts.flat()));
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
    const legend = ["teacher", "student"].map((who) => element("i." + who, who));
    return section("Class distributions", legend, element("div.scope-bars", lines.flat()));
  }

  line(name, teacher, student) {
    const known = Object.entries({ teacher, student }).filter(([, value]) => value != null);
    const bars = known.map(([who, value]) => element("u." + who, { style: { width: 100 * value + "%" } }));
    const words = known.map(([, value]) => whole(value)).join(" · ");
    return [element("b", { title: name }, name), element("span", bars), element("small", words)];
  }

  neighbours(frame, detail) {
    const { scope } = this;
    const tiles = (sheet, near, kind, words, act = () => {}) =>
      near.map(([index, distance]) =>
        this.tile(sheet, index, kind, words(index), () => act(index), distance.toFixed(2)),
      );
    const { nearest_real: real, nearest_clean: clean } = detail ?? {};
    const ofReal = () => tiles(scope.real, real, "real", (index) => scope.realWords(index));
    const ofClean = () => tiles(frame, clean, "clean", (index) => scope.words(index), (index) => scope.jump(index));
    return [
      real?.length && scope.real?.ready && strip("Nearest real images", "distance in the teacher's features", ofReal()),
      clean?.length && strip("Nearest clean images", "of this step", ofClean()),
    ].filter(Boolean);
  }

  // The same latent at other steps.
  overTime(frame, sheet) {
    if (frame.source !== "probes" || !sheet?.ready || !sheet.steps.length) return null;
    const tiles = sheet.steps.map(({ step, label, clean }, nth) => {
      const name = this.scope.className(label);
      const verdict = clean ? "clean" : "rejected";
      const words = `At step ${step}: ${verdict}, the teacher says ${name}`;
      const caption = [element("b", name), " " + step];
      const tile = this.tile(sheet, nth, verdict, words, () => this.scope.goTo(step), ...caption);
      tile.title = "Go to step " + step;
      tile.setAttribute("aria-current", String(step === frame.step));
      return tile;
    });
    const made = strip("This latent at other steps", "class and step; click to go there", tiles);
    made.classList.add("scope-film");
    return made;
  }

  tile(sheet, index, kind, words, act, ...caption) {
    const about = { className: "scope-tile " + kind, title: words, "aria-label": words };
    const tile = pressable(sheet.tile(index), act, about);
    tile.append(element("small", caption));
    return tile;
  }
}

const section = (name, note, content) => element("section", element("h5", name, element("span", note)), content);
const strip = (name, note, tiles) => section(name, note, element("div.scope-strip", tiles));
