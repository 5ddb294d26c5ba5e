// The stage of a run that learns from collected images: collected set, GAN, hybrid set, student.

import { element, legend, refilled } from "../web/dom.js";
import { mounting } from "../web/mount.js";
import { whole } from "../web/numbers.js";
import { FIGURE, line, titled } from "../web/plot.js";
import { placesOf } from "../web/sheet.js";
import { COLLECTED, drawCollected, howCollected } from "./collected.js";
import { drawGan, GAN } from "./gan.js";
import { drawMix, MIX } from "./mix.js";
import { FIRST_IMAGES, panel } from "./player.js";
import { part, StagedPlayer } from "./staged.js";

const STUDENT = part(
  "student", "Student",
  panel("accuracy", "Student against teacher") +
    panel("batch", "Batch", `<div class="dfkd-sheet" tabindex="0"></div>`) +
    panel("loss", "Student loss"),
);
const STORY = [
  ["collected", "Collected set", "A few images from elsewhere, without labels: the teacher says what they are to it."],
  ["gan", "GAN", "A generator learns to make more like them, while a discriminator learns to tell the two apart."],
  ["hybrid", "Hybrid set", "The collected images, each repeated N times, and the synthetic ones become one set."],
  ["student", "Student", "The student learns the teacher's answers on batches of both."],
];
const ORDER = { gan: ["gan", "collected", "hybrid", "student"], student: ["student", "hybrid", "collected", "gan"] };

class Hybrid extends StagedPlayer {
  constructor(host) {
    super(host, "hybrid", COLLECTED + GAN + MIX + STUDENT, { early: "gan", job: "distance", box: "estimate" });
    this.hidden = new Set(); // terms that are not drawn
  }

  get collected() { return this.beside; }

  // Entries of a legend: the two kinds of images.
  get sources() { return [["collected", this.colour.real, "box"], ["synthetic", this.colour.made, "box"]]; }

  axis(stage = "student") {
    const { border, span } = this;
    return { ...titled("training step"), range: stage === "gan" ? [0, border] : [border, Math.max(border + 1, span)] };
  }

  toggle(term) { if (!this.hidden.delete(term)) this.hidden.add(term); this.draw(); }

  // Of formulas, which are no terms of the glossary.
  plainLegend(name, entries) { legend(this.at(name).querySelector("h4 span"), entries); }

  earlyScore() {
    const [covered, fake] = ["coverage", "confidence_fake"].map((name) => this.valueAt(name));
    const about = covered == null ? "the GAN has not begun" : "of the classes covered by the generator";
    const taken = fake == null ? null : [", ", element("strong", whole(fake)), " of its images taken for real"];
    return [covered == null ? "–" : whole(covered), element("small", about, taken)];
  }

  panels() {
    const { border, data, steps } = this;
    const there = { gan: border > 0, hybrid: Boolean(data.mix), collected: Boolean(data.collected), student: true };
    this.story(STORY.filter(([name]) => there[name]));
    const notes = this.aboutStages();
    if (data.collected) notes.collected = howCollected(data.collected);
    this.arrange(ORDER[this.part].filter((name) => there[name]), notes);
    drawCollected(this);
    if (border) drawGan(this, this.sheetOf("gan", steps.filter((step) => step <= border)));
    drawMix(this);
    this.once("accuracy", this.seen("accuracy", "agreement"), () => this.accuracy());
    this.once("loss", this.seen("student_loss"), () => this.loss());
    const batch = this.sheetOf("student", steps.filter((step) => step > border));
    this.once("batch", [batch?.step, this.part], () => this.batch(batch));
  }

  loss() {
    this.legend("loss", [["student loss", this.colour.student]], "logarithmic");
    const curve = line(this.curve("student_loss"), "student loss", this.colour.student, { width: 1.8 }, FIGURE);
    this.course("loss", [curve], { type: "log", nticks: 5 }, "Student loss");
  }

  batch(sheet) {
    const first = this.part === "gan" ? "The student does not learn yet." : FIRST_IMAGES;
    if (!sheet) return this.nothing("batch", first);
    const own = sheet.collected, collected = own ? placesOf(own, 1).length : 0;
    const split = own ? `${collected} + ${sheet.count - collected}, ` : "";
    this.legend("batch", own ? this.sources : [], `${split}step ${sheet.step}`);
    const tiles = Array.from({ length: sheet.count }, (_, index) => this.tile(sheet, index));
    refilled(this.at("sheet"), ...tiles);
  }

  tile(sheet, index) {
    const kind = !sheet.collected ? "plain" : sheet.collected[index] ? "collected" : "made";
    const source = { plain: "", collected: "collected, ", made: "synthetic, " }[kind];
    const [teacher, student] = [sheet.label[index], sheet.student_label[index]].map((label) => this.named(label));
    const image = sheet.tile(index, kind, `${source}${this.says(sheet, index)}, the student ${student}`);
    const other = teacher === student ? "" : " ≠ " + student;
    return element("div.dfkd-tile", image, element("b", teacher), other);
  }
}

export default mounting(Hybrid);
