// The stage of a run that distils a generative model: teacher and student beside each other, from the same noise and
// from the same images; how the synthetic images came about; the table of what was measured.

import { element } from "../web/dom.js";
import { mounting } from "../web/mount.js";
import { brief, grouped } from "../web/numbers.js";
import { drawPair, PAIR } from "./pair.js";
import { measurement, StagedPlayer } from "./staged.js";
import { drawSynthesis, Film, SYNTHESIS } from "./synthesis.js";

const FIGURES = `
  <section class="dfkd-part" data-part="figures"><h3>Figures<small></small></h3>${measurement("measure")}
    <div class="dfkd-table"></div></section>`;
const MADE = { // by the source of the images
  latents: "Random latents are moved to where the teacher is at home; what it makes of them is kept.",
  diffusion: "A diffusion model that was trained on other data makes images, guided by the teacher.",
  "stable-diffusion": "Stable Diffusion makes images, guided by the teacher.",
};
const MEASURED = "What was lost: both are compared on test images, which only measure.";
const WHAT = "FID, EMD, MMD, 1NN, reconstruction, size and time of teacher and student, on test images.";
const KINDS = ["probes", "samples", "made", "films"]; // of sheets in a frame

class Generative extends StagedPlayer {
  constructor(host) {
    super(host, "generative", PAIR + SYNTHESIS + FIGURES, { early: "synthesis", job: "measure", box: "measure" });
    this.film = new Film(this);
  }

  begin(data) {
    super.begin(data);
    this.film.show(null);
    this.figure = this.levels = null;
  }

  // What is recorded of one step may come piece by piece.
  receive(step, frame) {
    const known = this.frames.get(step);
    if (!frame) return super.receive(step, frame);
    const sheet = (kind) => known?.[kind] ?? (frame[kind] && this.opened(frame[kind]));
    this.frames.set(step, { ...frame, ...Object.fromEntries(KINDS.map((kind) => [kind, sheet(kind)])) });
    return step;
  }

  get nearest() { return this.beside; }

  // The newest sheet of a kind.
  kind(name) { return this.sheetOf(name, this.data.recorded[name], (frame) => frame?.[name]); }
  scored(value) { return brief(value); }
  get measure() {
    const { score } = this.data;
    if (score === "fid") return "FID (lower is better)";
    return score === "mismatch" ? "mismatch with the teacher (lower is better)" : "nothing measured yet";
  }

  earlyScore() {
    const [now, first, images] = ["guidance", "guidance_first", "images"].map((name) => this.valueAt(name));
    if (now == null) return ["–", element("small", "no image has been made yet")];
    const beginning = `guidance at the end of synthesis, ${brief(first)} at its beginning`;
    return [brief(now), element("small", `${beginning}; ${grouped(images)} images made`)];
  }

  get stages() {
    const { own_encoder: own, source } = this.data;
    const from = source === "original" ? "the training images" : "these images";
    const same = source === "ancestral" ? "random numbers" : "latents of " + from;
    const learns = own
      ? `The student learns ${from} as a VAE does, its own encoder included.`
      : `Both turn the same ${same} into images; the student learns to make what the teacher makes.`;
    const made = MADE[source] ? [["synthesis", "Synthesis", MADE[source]]] : [];
    return [...made, ["student", "Teacher and student", learns], ["figures", "Figures", MEASURED]];
  }

  panels() {
    const { data, border } = this, notes = this.aboutStages();
    if (notes.student) notes.student += "; until then it is as it was made";
    else notes.student = data.quality_label;
    this.story(this.stages);
    const order = this.part === "student" ? ["student", "synthesis"] : ["synthesis", "student"];
    this.arrange([...order, "figures"], notes);
    this.at("origin").textContent = data.origin;
    this.at("synthesis").hidden = !border;
    drawPair(this);
    if (border) drawSynthesis(this);
    this.once("figures", [data.job, data.measurable, data.measured?.version], () => this.figures());
  }

  figures() {
    const { measured: found, measurable } = this.data;
    const words = measurable ? WHAT : "Can be measured once the run has a checkpoint.";
    this.measuring(found, ["Measure", "Measure again"], found ? found.notes.join(" ") : words);
    this.at("table").replaceChildren(...(found ? [table(found.rows)] : []));
  }
}

function table(rows) {
  const head = ["", "teacher", "student"].map((className) => element("th", { className }, className));
  const lines = rows.map(([name, ...figures]) =>
    element("tr", element("th", { scope: "row" }, name), figures.map((figure) => element("td", figure))),
  );
  return element("table", element("thead", element("tr", head)), element("tbody", lines));
}

export default mounting(Generative);
