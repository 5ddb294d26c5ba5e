// How synthetic images came about: the film of a synthesis with the guidance at each frame, the images of a batch, and
// the real images that are nearest to some.

import { border, sharp } from "../web/canvas.js";
import { element, empty, refilled } from "../web/dom.js";
import { brief, clamp } from "../web/numbers.js";
import { FIGURE, line, margins, titled } from "../web/plot.js";
import { PANELS } from "../web/words.js";
import { tilesOf } from "./pair.js";
import { panel } from "./player.js";

const ROLL_SECONDS = 4;
const STRIP = 138; // pixels, at most
const REEL = `
  <div class="dfkd-reel"><button class="dfkd-roll" aria-label="Play the film" title="Play the film">▶</button>
    <input type="range" min="0" step="1" aria-label="Frame of the film"><span></span></div>
  <div class="dfkd-now"></div><canvas class="dfkd-strip" role="img"></canvas>`;

export const SYNTHESIS = `
  <section class="dfkd-part" data-part="synthesis"><h3>Synthesis<small></small></h3><p class="dfkd-origin"></p>
    <div class="dfkd-grid dfkd-synthesis">
      ${panel("film", "Film of the synthesis", REEL)}
      ${panel("guidance", "Guidance")}
      ${panel("made", "Synthetic images", `<div class="dfkd-tiles"></div>`)}
      ${panel("nearest", "Nearest real images", `<div class="dfkd-pairs"></div>`)}
    </div></section>`;

export function drawSynthesis(stage) {
  const { film, nearest, data } = stage, made = stage.kind("made"), shown = stage.kind("films");
  stage.once("made", [made?.step, data.state], () => batch(stage, made));
  stage.once("film", [shown?.step], () => film.show(shown));
  stage.once("guidance", [shown?.step], () => film.guidance());
  stage.once("nearest", [nearest?.version, nearest?.ready, Boolean(data.measured)], () => pairs(stage));
}

function batch(stage, sheet) {
  if (!sheet) return stage.nothing("made", stage.noImages);
  stage.legend("made", [], `batch ${sheet.step}, with the guidance at their end`);
  const tiles = tilesOf(sheet, PANELS.made, "made", "synthetic image").map((tile, index) => {
    tile.title += ", guidance " + brief(sheet.loss[index]);
    return element("div.dfkd-tile", tile, brief(sheet.loss[index]));
  });
  if (!stage.at("sheet")) stage.at("tiles").replaceChildren(element("div.dfkd-sheet", { tabIndex: 0 }));
  refilled(stage.at("sheet"), ...tiles);
}

// Synthetic images first in the sheet, then the real one nearest to each.
function pairs(stage) {
  const { nearest, data, colour } = stage;
  const why = "Measure, below, finds the real image that is nearest to each.";
  if (!nearest?.ready) return stage.nothing("nearest", data.measured ? "These real images were not kept." : why);
  const entries = [["synthetic", colour.made, "box"], ["real", colour.real, "box"]];
  stage.legend("nearest", entries, "and their distance in features");
  const count = nearest.distance.length;
  const figures = Array.from(nearest.distance, (distance, index) => {
    const made = nearest.tile(index, "made", `synthetic image ${index + 1}`);
    const real = nearest.tile(count + index, "real", `the real image nearest to it, at ${brief(distance)}`);
    return element("figure", made, real, element("figcaption", brief(distance)));
  });
  stage.at("pairs").replaceChildren(...figures);
}

// One synthesis, frame by frame: denoising steps, or steps of its latents.
export class Film {
  constructor(stage) {
    Object.assign(this, { stage, at: stage.at, sheet: null, place: 0 });
    this.slider = this.at("reel").querySelector("input");
    const byHand = (place) => { this.stop(); this.turnTo(place); };
    this.at("roll").addEventListener("click", () => (this.rolling ? this.stop() : this.roll()));
    this.slider.addEventListener("input", () => byHand(Number(this.slider.value)));
    this.at("strip").addEventListener("click", ({ offsetX, target }) =>
      byHand(Math.floor((offsetX / target.clientWidth) * this.sheet.frames)),
    );
    new ResizeObserver(() => this.draw()).observe(this.at("film"));
  }

  get denoises() { return this.stage.data.source !== "latents"; }

  // Another synthesis; null: none.
  show(sheet) {
    this.stop();
    this.sheet = sheet;
    this.at("reel").hidden = this.at("strip").hidden = !sheet;
    const none = "The first film is shown after the first batch of images.";
    if (!sheet) this.stage.legend("film", []);
    if (!sheet) return this.at("now").replaceChildren(empty(none));
    const what = this.denoises ? "the clean image as predicted at each denoising step" : "as their latents move";
    this.stage.legend("film", [], `batch ${sheet.step}: ${what}`);
    const still = this.stage.playing || matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.turnTo(still ? sheet.frames - 1 : 0);
    if (!still) this.roll();
  }

  roll() {
    const { frames } = this.sheet;
    if (this.place >= frames - 1) this.turnTo(0);
    const next = () => (this.place < frames - 1 ? this.turnTo(this.place + 1) : this.stop());
    this.rolling = setInterval(next, (1000 * ROLL_SECONDS) / frames);
    this.rolls(true);
  }

  stop() {
    clearInterval(this.rolling);
    this.rolling = null;
    this.rolls(false);
  }

  rolls(now) {
    this.at("roll").textContent = now ? "❚❚" : "▶";
    this.at("roll").setAttribute("aria-label", now ? "Stop the film" : "Play the film");
  }

  turnTo(place) { this.place = clamp(place, 0, this.sheet.frames - 1); this.draw(); }

  draw() {
    const { sheet, place, slider } = this;
    if (!sheet) return;
    const { frames, shown, timestep, loss } = sheet;
    const at = (this.denoises ? "t = " : "step ") + timestep[place];
    const where = `frame ${place + 1} of ${frames}, ${at} · guidance ${brief(loss[place])}`;
    Object.assign(slider, { max: frames - 1, value: place });
    slider.setAttribute("aria-valuetext", where);
    this.at("reel").querySelector("span").textContent = where;
    this.at("film").dataset.frame = place;
    const tile = (_, image) => sheet.tile(place * shown + image, "made", `image ${image + 1}, frame ${place + 1}`);
    this.at("now").style.setProperty("--many", shown);
    this.at("now").replaceChildren(...Array.from({ length: shown }, tile));
    this.strip();
    this.stage.plots.move(this.at("guidance").querySelector(".dfkd-plot"), 1, [timestep[place]], [loss[place]]);
  }

  // All frames beside each other, the one shown framed: one line for each image, as many as there is room for.
  strip() {
    const { sheet, place } = this, canvas = this.at("strip");
    const side = canvas.clientWidth / sheet.frames;
    const lines = Math.max(1, Math.min(sheet.shown, Math.floor(STRIP / side)));
    canvas.style.height = Math.ceil(lines * side) + "px";
    canvas.setAttribute("aria-label", `All ${sheet.frames} frames of ${lines} images beside each other`);
    const { context } = sharp(canvas);
    context.imageSmoothingEnabled = false;
    for (let index = 0; index < sheet.count; index++) {
      const [column, line] = [Math.floor(index / sheet.shown), index % sheet.shown];
      if (line < lines) sheet.paint(context, index, column * side, line * side, side - 1, side - 1);
    }
    border(context, [place * side, 1, side - 1, lines * side - 2], this.stage.colour.made, 3);
  }

  guidance() {
    const { sheet, stage, place, denoises } = this;
    if (!sheet) return stage.noPlot("guidance", "No film yet");
    const { timestep, loss, step } = sheet;
    const what = denoises ? "denoising step" : "step of the latents";
    stage.legend("guidance", [], `loss of the images at each ${what}, batch ${step}`);
    const { made, text } = stage.colour, dots = { mode: "lines+markers", marker: { size: 5 } };
    const here = { size: 13, color: made, line: { width: 2, color: text } };
    const traces = [
      line({ x: timestep, y: loss }, "guidance", made, { width: 2.4 }, FIGURE, dots),
      { x: [timestep[place]], y: [loss[place]], mode: "markers", marker: here, hoverinfo: "skip" },
    ];
    const axis = denoises ? "timestep t: noise on the left, image on the right" : "step of the latents";
    const layout = {
      xaxis: { ...titled(axis), autorange: denoises ? "reversed" : true }, yaxis: { rangemode: "tozero", nticks: 5 },
      uirevision: stage.run + step, ...margins(56, 10, 6, 40),
    };
    const ends = `${brief(loss[0])} at the first frame to ${brief(loss.at(-1))} at the last`;
    stage.plot("guidance", traces, layout, "Guidance from " + ends);
  }
}
