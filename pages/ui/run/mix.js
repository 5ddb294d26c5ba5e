// The hybrid set: collected images, each repeated N times, with synthetic ones; the distances of the mixture from both.

import { spread } from "../web/curves.js";
import { element } from "../web/dom.js";
import { grouped, whole } from "../web/numbers.js";
import { line, titled, upright, words } from "../web/plot.js";
import { panel } from "./player.js";
import { measurement, part } from "./staged.js";

const FARTHEST = 20; // inflation factors drawn, at least
const MOST = 240; // places of a curve

export const MIX = part(
  "hybrid", "Hybrid set",
  panel("inflation", "Inflation", `<div class="dfkd-mix"></div>`) +
    panel(
      "bound", "Total variation distance",
      `<div class="dfkd-plot" role="figure"></div>${measurement("estimate")}
      <p class="dfkd-theory">P: collected, Q: synthetic, U: hybrid. Repeating the collected images moves the hybrid set
        towards them and away from the synthetic ones. The paper's bound on the distance from the synthetic ones falls
        only because it is loose: the distance itself grows.</p>`,
    ),
);

export function drawMix(stage) {
  const { mix: sizes, distance, job, measurable } = stage.data;
  if (!sizes) return;
  stage.once("mix", [sizes], () => mix(stage, sizes));
  stage.once("bound", [sizes, distance], () => bound(stage, sizes, distance));
  stage.once("estimate", [job, measurable, distance], () =>
    stage.measuring(distance, ["Estimate TVD(P, Q)", "Estimate again"], estimated(stage, distance, measurable)),
  );
}

// The share of collected images, α.
const alphaOf = ({ collected, synthetic }, inflation) => (inflation * collected) / (inflation * collected + synthetic);

function mix(stage, sizes) {
  const { collected, synthetic, inflation, usual } = sizes;
  const bar = (about, factor) => {
    const alpha = alphaOf(sizes, factor), head = element("div", about, element("b", "α " + alpha.toFixed(2)));
    const piece = (kind, share) => element("i." + kind, { style: { "flex-grow": share } });
    const spoken = { role: "img", "aria-label": whole(alpha) + " collected" };
    const strip = element("div.dfkd-blend-bar", spoken, piece("collected", alpha), piece("made", 1 - alpha));
    return element("div.dfkd-blend", head, strip);
  };
  const times = `N = ${grouped(inflation)} ${inflation === 1 ? "time" : "times"}`;
  const ratio = `⌊${grouped(synthetic)} / ${grouped(collected)}⌋`;
  const alike = `N = ${ratio} = ${grouped(usual)} makes both parts about alike.`;
  const none = "There are more collected than synthetic images: no inflation is needed.";
  const reason = collected > synthetic ? none : alike;
  stage.legend("inflation", stage.sources);
  stage.at("mix").replaceChildren(
    bar(`${grouped(collected)} collected, ${grouped(synthetic)} synthetic`, 1),
    bar(`each collected image ${times}: ${grouped(inflation * collected)}`, inflation),
    element("p", "α is the share of collected images in what the student learns from. " + reason),
  );
}

function bound(stage, sizes, found) {
  const { colour } = stage, { inflation } = sizes;
  const scale = found?.tvd ?? 1;
  const far = Math.max(2 * inflation, FARTHEST), x = spread(0, far, Math.min(far, MOST) + 1);
  const lines = [
    ["the paper's bound on TVD(U, Q): (2 − α) TVD(P, Q)", "bound",
      (alpha) => (2 - alpha) * scale, colour.text, "dash"],
    ["TVD(U, Q) = α TVD(P, Q)", "from the synthetic", (alpha) => alpha * scale, colour.made],
    ["TVD(U, P) = (1 − α) TVD(P, Q)", "from the collected", (alpha) => (1 - alpha) * scale, colour.real],
  ];
  const traces = lines.map(([, name, value, color, dash = "solid"]) => {
    const curve = { x, y: x.map((factor) => value(alphaOf(sizes, factor))) };
    return line(curve, name, color, { width: 2.4, dash }, "%{y:.2f}");
  });
  traces.push({
    x: lines.map(() => inflation), y: lines.map(([, , value]) => value(alphaOf(sizes, inflation))), mode: "markers",
    marker: { size: 9, color: lines.map(([, , , color]) => color) }, hoverinfo: "skip",
  });
  const here = { xref: "x", yanchor: "top", xanchor: "left", font: { color: colour.text, size: 12 } };
  const scaled = found ? "total variation, if TVD(P, Q) = " + found.tvd.toFixed(2) : "in units of TVD(P, Q)";
  const layout = {
    shapes: [upright(inflation, { color: colour.text, width: 1, dash: "dot" })],
    annotations: [words(" N = " + grouped(inflation), inflation, 1, here)],
    xaxis: { ...titled("inflation factor N"), range: [0, far] },
    yaxis: { ...titled(scaled, 4), range: [0, 2.15 * scale] },
  };
  stage.plainLegend("bound", lines.map(([formula, , , color, dash]) => [formula, color, dash]));
  stage.plot("bound", traces, layout, "The paper's bound and the two exact distances over the inflation factor");
}

function estimated({ border }, found, measurable) {
  if (!measurable && !found) return "Can be estimated once the GAN has learned.";
  if (!found) return "By a classifier that tells collected from synthetic images: a bound from below.";
  const [low, value, high] = [found.low, found.tvd, found.high].map((one) => one.toFixed(2));
  const chance = found.above_chance ? "above chance" : "not above chance: it does not tell them apart";
  const right = `${whole(found.accuracy)} of ${grouped(found.images)} images held out, half of them collected`;
  return (
    `TVD(P, Q) is ${low} or more: ${value} [${low}, ${high}] as this classifier sees it, ${chance}. It learned from ` +
    `the teacher's features, and is right about ${right} (generator of step ${Math.min(found.step, border)}).`
  );
}
