// The stage of Distill: the student's curve, the generator's images, how the mixture splits them, the loss terms.

import { binOf, expected, lossRange, noMixture, scaledBetween, spread, tally } from "../web/curves.js";
import { element } from "../web/dom.js";
import { intoSight, mounting } from "../web/mount.js";
import { axisName, bars, FIGURE, line, margins, stories, titled, words } from "../web/plot.js";
import { placesOf } from "../web/sheet.js";
import { Idea } from "./idea.js";
import { FIRST_IMAGES, panel, Player } from "./player.js";

const PANELS = `
  <div class="dfkd-grid">
    ${panel("accuracy", "Student against teacher")}
    ${panel("samples", "Synthetic images", `<div class="dfkd-tiles"></div>`)}
    ${panel("judged", "Judged losses")}
    ${panel("course", "Coverage")}
    ${panel("classes", "Classes generated")}
    ${panel("losses", "Losses by term")}
    ${panel("shares", "Term health")}
  </div>`;
const BINS = 40;
const VERDICTS = [["clean", 1], ["rejected", 0]];

class Stage extends Player {
  constructor(host) {
    super(host, "distill", PANELS);
    this.idea = new Idea(this, this.at("idea"));
  }
  update(data, setStateValue) {
    this.idea.update(data); // it takes its room at once
    return super.update(data, setStateValue);
  }
  arrived() { this.spotlight(); }
  alsoTold() { return { stop: this.stop ?? null }; }

  // The guided tour frames one panel, and moves the scrubber once a stop; then the visitor is free to. Whether it has
  // been moved is remembered by Python: Streamlit may mount this component anew at any time.
  spotlight() {
    const { stop = null, panel, step, go } = this.data.spot || {};
    if (stop === this.stop) return;
    this.stop = stop;
    this.root.querySelector(".spot")?.classList.remove("spot");
    if (stop == null) return;
    this.at(panel).classList.add("spot");
    intoSight(this.at(panel));
    if (!go) return;
    if (step == null) this.scrubber.follow();
    else this.scrubber.goTo(step);
  }

  // --- drawing ---

  panels() {
    const { terms } = this.data;
    this.once("accuracy", this.seen("accuracy", "agreement"), () => this.accuracy());
    this.once("course", this.seen("kept", "coverage", "diversity"), () => this.sampling());
    this.once("losses", this.seen(...terms), () => this.losses(terms));
    this.once("shares", this.seen(...terms.map((name) => "share/" + name)), () => this.health(terms));
    const sheet = this.frames.get(this.step);
    if (sheet?.ready) this.shown = sheet; // until it is, the one before stays
    if (this.shown) this.once("sheet", [this.shown.step], () => this.sheet(this.shown));
    else this.once("sheet", [sheet === undefined, this.steps.length > 0], () => this.noSheet(sheet));
    this.idea.draw();
  }

  sampling() {
    const { colour } = this;
    const lines = [["coverage", "coverage", colour.palette[0]], ["diversity", "diversity", colour.palette[3]]];
    if (this.data.curves.kept) lines.unshift(["kept", "kept", colour.clean]);
    this.shares("course", lines);
  }

  // Each term on an axis of its own.
  losses(terms) {
    const { palette } = this.colour;
    const height = terms.length > 8 ? 36 * terms.length + 60 + "px" : ""; // each needs room for its ticks
    for (const name of ["losses", "shares"]) this.at(name).style.height = height;
    const domains = stories(terms.length, 0.06 / Math.max(1, terms.length / 6));
    const layout = { ...margins(58, 10, 6, 40), annotations: [] };
    const traces = terms.map((name, index) => {
      const color = palette[index % 8], domain = domains[index];
      layout[axisName("yaxis", index)] = { domain, nticks: 3 };
      const place = { xanchor: "right", yanchor: "top", font: { color } };
      layout.annotations.push(words(this.title(name), 0.995, domain[1], place));
      const own = { yaxis: axisName("y", index) };
      return line(this.curve(name), this.title(name), color, { width: 1.6 }, FIGURE, own);
    });
    layout.xaxis = { ...this.axis(), anchor: axisName("y", Math.max(0, terms.length - 1)) };
    this.legend("losses", [], "as weighted in the sum");
    const about = "Loss terms " + traces.map(({ name }) => name).join(", ");
    this.course("losses", traces, layout.yaxis, about, layout);
  }

  health(terms) {
    const { curves, moved } = this.data;
    const measured = terms.filter((name) => curves["share/" + name] && moved[name] !== "discriminator");
    const colour = (name) => this.colour.palette[terms.indexOf(name) % 8];
    const entries = measured.map((name) => [this.title(name), colour(name), "box"]);
    this.legend("shares", entries, "of the generator's gradient");
    const traces = measured.map((name) => this.stacked(name, colour(name)));
    const yaxis = { range: [0, 1], tickformat: ".0%" };
    this.course("shares", traces, yaxis, "Share of the generator's gradient by term", { shapes: [] });
  }

  // --- the sheet of a step ---

  noSheet(sheet) {
    const unread = sheet === null || sheet?.broken;
    const waiting = unread ? "The images of this step cannot be read." : "Loading the images of this step…";
    this.nothing("samples", this.steps.length ? waiting : FIRST_IMAGES);
    for (const name of ["judged", "classes"]) this.noPlot(name, "Nothing recorded yet");
  }

  sheet(sheet) { this.tiles(sheet); this.judged(sheet); this.classes(sheet); }

  tiles(sheet) {
    this.legend("samples", [], "at step " + sheet.step);
    const tiles = this.at("tiles");
    const scrolled = [...tiles.querySelectorAll(".dfkd-sheet")].map((box) => box.scrollTop);
    const groups = this.groups(sheet).map(([name, members, note = ""]) => {
      const about = { tabIndex: 0, "aria-label": name + " images" };
      const images = members.map((index) => this.tile(sheet, index, name));
      const heading = element("h5." + name, this.term(name), ` ${members.length} / ${sheet.count}${note}`);
      return [heading, element("div.dfkd-sheet." + name, about, images)];
    });
    tiles.replaceChildren(...groups.flat());
    tiles.querySelectorAll(".dfkd-sheet").forEach((box, index) => { box.scrollTop = scrolled[index] || 0; });
  }

  // The sheet's images by what became of them: name, indices, note.
  groups(sheet) {
    const split = (column, names, note) => names.map(([name, flag]) => [name, placesOf(sheet[column], flag), note]);
    if (sheet.collected) return split("collected", [["collected", 1], ["synthetic", 0]]);
    const judged = sheet.mixture || sheet.clean.includes(0);
    if (judged) return split("clean", VERDICTS, sheet.unapplied ? " (not applied)" : "");
    return [["synthetic", [...sheet.clean.keys()], ": " + this.taken(sheet)]];
  }

  taken(sheet) {
    const stage = this.stageAt(sheet.step);
    return stage && stage.name !== "student" ? "the student does not learn yet" : "every sample is learned from";
  }

  tile(sheet, index, verdict) {
    const words = `${verdict}, ${this.says(sheet, index)}, loss ${sheet.loss[index].toFixed(3)}`;
    const image = sheet.tile(index, "", words), name = element("b", this.named(sheet.label[index]));
    return element("div.dfkd-tile", { title: words }, image, name, ` ${Math.round(100 * sheet.confidence[index])}%`);
  }

  judged(sheet) {
    const { colour } = this, { mixture } = sheet, usable = Boolean(mixture?.usable);
    const [low, high] = lossRange(mixture, sheet.loss), scaled = scaledBetween(low, high);
    const centres = Array.from({ length: BINS }, (_, bin) => (bin + 0.5) / BINS);
    const { clean, rejected } = tally(sheet.clean, BINS, (index) => binOf(scaled(sheet.loss[index]), BINS));
    const stack = (heights, name) => ({ ...bars(centres, heights, name, colour[name], 0.75), width: 1 / BINS });
    const traces = [stack(clean, "clean"), stack(rejected, "rejected")], entries = [];
    const judged = mixture || sheet.clean.includes(0);
    if (judged) entries.push(["clean", colour.clean, "box"], ["rejected", colour.rejected, "box"]);
    if (usable) {
      traces.push(...this.components(mixture, sheet.count));
      entries.push(["mixture", colour.text], ["accepted", colour.clean, "faint"]);
    }
    const notes = [usable ? "" : mixture ? noMixture(mixture) : this.taken(sheet), sheet.unapplied && "not applied"];
    this.legend("judged", entries, notes.filter(Boolean).join(", "));
    const tallest = Math.max(1, ...clean.map((height, bin) => height + rejected[bin]));
    const cut = mixture ? ", τ " + mixture.threshold : "";
    const axis = `judged loss, scaled: 1 is ${high.toPrecision(2)} nats${cut}`;
    const layout = {
      barmode: "stack", shapes: usable ? this.region(mixture) : [], hovermode: "closest",
      uirevision: this.run + sheet.step, xaxis: { ...titled(axis), range: [0, 1] },
      yaxis: { ...titled("samples"), range: [0, 1.15 * tallest] },
    };
    const kept = placesOf(sheet.clean, 1).length;
    this.plot("judged", traces, layout, `Histogram of judged losses, ${kept} clean of ${sheet.count}`);
  }

  components(mixture, count) {
    const x = spread(0, 1, 200);
    return ["low component", "high component"].map((name, k) => ({
      x, y: x.map((value) => expected(mixture, k, value, count, BINS)), name, mode: "lines", hoverinfo: "skip",
      line: { color: this.colour.text, width: 1.6, dash: k ? "dot" : "solid" },
    }));
  }

  region(mixture) {
    const look = { fillcolor: this.colour.clean, opacity: 0.13, line: { width: 0 }, layer: "below" };
    return mixture.region.map(([x0, x1]) => ({ type: "rect", x0, x1, y0: 0, y1: 1, yref: "paper", ...look }));
  }

  classes(sheet) {
    const names = this.data.classes;
    const heights = tally(sheet.clean, names.length, (index) => sheet.label[index]);
    const traces = VERDICTS.map(([name]) => bars(names, heights[name], name, this.colour[name], 0.8));
    const layout = {
      barmode: "stack", uirevision: this.run + sheet.step, ...margins(30, 6, 6, names.length > 10 ? 70 : 40),
      xaxis: { ...titled("the teacher's class"), type: "category" },
    };
    this.plot("classes", traces, layout, "Samples by the teacher's class at step " + sheet.step);
  }
}

export default mounting(Stage);
