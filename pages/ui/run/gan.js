// The GAN that learns from the collected images: what it makes, whether its discriminator knows them by heart, terms.

import { smoothed } from "../web/curves.js";
import { element, refilled } from "../web/dom.js";
import { points } from "../web/numbers.js";
import { axisName, band, bars, line, margins, SHARES, stories, titled, words } from "../web/plot.js";
import { placesOf } from "../web/sheet.js";
import { faint } from "../web/theme.js";
import { byClass, collectedOf, evenLine } from "./collected.js";
import { FIRST_IMAGES, panel } from "./player.js";
import { part } from "./staged.js";

const IN_A_ROW = { collected: 5, made: 8 }; // images of a class, at most
const FEW = 20; // classes that all have a row
const OVERFITTED = 0.1; // gap between collected and unseen images that is called so, at least

export const GAN = part(
  "gan", "GAN",
  panel("pairs", "Synthetic images", `<div class="dfkd-rows" tabindex="0"></div>`) +
    panel("sure", "Discriminator confidence") +
    panel("frequencies", "Class frequencies") +
    panel("discriminator-terms", "Discriminator") +
    panel("generator-terms", "Generator") +
    panel("health", "Term health") +
    panel("spread", "Coverage"),
);

export function drawGan(stage, sheet) {
  const { terms } = stage.data;
  const seen = (...names) => stage.seen(...names);
  stage.once("sure", seen("confidence_real", "confidence_unseen", "confidence_fake"), () => confidence(stage));
  stage.once("terms", [...seen(...terms), ...stage.hidden], () => losses(stage));
  stage.once("health", seen(...terms.map((name) => "share/" + name)), () => health(stage));
  stage.once("spread", seen("coverage", "diversity"), () => spread(stage));
  stage.once("pairs", [sheet?.step, Boolean(stage.collected?.ready)], () => images(stage, sheet));
  stage.once("frequencies", [sheet?.step], () => frequencies(stage, sheet));
}

function images(stage, sheet) {
  if (!sheet) return stage.nothing("pairs", FIRST_IMAGES);
  const box = stage.at("rows"), { classes } = stage.data;
  const told = Boolean(sheet.wanted), by = told ? sheet.wanted : sheet.label;
  const order = told ? "rows: the class told" : "rows: the teacher's class";
  const other = element("span", { style: { margin: 0 } }, "taken for the class named on it");
  const others = told ? [[other, stage.colour.rejected, "dashes"]] : [];
  stage.legend("pairs", [...stage.sources, ...others], `${order}, step ${sheet.step}`);
  const longest = Math.max(...classes.map((name) => name.length));
  box.style.setProperty("--label", Math.min(10, longest) + 1 + "ch");
  const shown = [...classes.keys()].filter((label) => classes.length <= FEW || by.includes(label));
  refilled(box, ...shown.map((label) => row(stage, sheet, label, by)));
}

// A few collected images of a class beside generated ones; those that the teacher takes for another are named.
function row(stage, sheet, label, by) {
  const made = placesOf(by, label).slice(0, IN_A_ROW.made).map((index) => {
    const right = sheet.label[index] === label;
    const told = sheet.wanted ? `told ${stage.named(label)}, ` : "";
    const about = `synthetic, ${told}${stage.says(sheet, index)}`;
    const tile = sheet.tile(index, right ? "made" : "made other", about);
    return right ? tile : element("figure", tile, element("figcaption", stage.named(sheet.label[index])));
  });
  const collected = collectedOf(stage, label, IN_A_ROW.collected);
  const none = collected.length || !stage.collected ? null : element("i", "none");
  const columns = [element("div.left", collected, none), element("div.right", made)];
  return element("div.dfkd-row", element("b", stage.named(label)), columns);
}

// Real against unseen: what the discriminator is surer of on images that it has learned from, it knows by heart.
function confidence(stage) {
  const { colour, border } = stage;
  const [real, unseen, fake] = ["real", "unseen", "fake"].map((name) => stage.curve("confidence_" + name));
  const [mean, meanFake] = [real, fake].map((curve) => smoothed(curve, border / 25));
  const at = (x) => mean.y[mean.x.findLastIndex((one) => one <= x)]; // a long run's curve lacks some of its steps
  const known = unseen.x.map((x) => at(x) ?? null); // how sure of the collected ones there
  const pale = { opacity: 0.3, hoverinfo: "skip", hovertemplate: undefined };
  const dashed = { mode: "lines+markers", marker: { size: 5 } };
  const traces = [
    line(real, "", colour.real, { width: 1 }, "", pale), line(fake, "", colour.made, { width: 1 }, "", pale),
    line(mean, "collected", colour.real, { width: 2.4 }),
    line(unseen, "unseen", colour.real, { dash: "dash" }, undefined, dashed),
    line(meanFake, "synthetic", colour.made, { width: 2.4 }),
  ];
  if (unseen.x.length > 1) {
    const high = known.map((value, index) => Math.max(value, unseen.y[index]));
    traces.unshift(...band(unseen.x, unseen.y, high, faint(colour.real, 0.25)));
  }
  const entries = [["collected", colour.real], ["synthetic", colour.made]];
  if (unseen.x.length) entries.splice(1, 0, ["unseen", colour.real, "dash"]);
  stage.legend("sure", entries);
  const yaxis = { ...SHARES, ...titled("taken for real") };
  const more = { annotations: gap(stage, unseen, known), xaxis: stage.axis("gan"), ...margins(56, 8, 6, 40) };
  const about = "Discriminator's confidence that collected, unseen and synthetic images are real";
  stage.course("sure", traces, yaxis, about, more);
}

// A mean of `count` shares has a standard error of 0.5 / √count at most: a gap below two of them tells nothing.
export function gapSaid(between, count) {
  const clear = between > Math.max(OVERFITTED, 1 / Math.sqrt(count));
  return `${clear ? "overfitting: " : ""}gap ${points(between)} points`;
}

function gap({ view, border, colour, data }, unseen, known) {
  const last = unseen.x.findLastIndex((x) => x <= (view ?? Infinity));
  if (last < 1) return [];
  const says = gapSaid(known[last] - unseen.y[last], data.collected?.unseen);
  const place = { xref: "x", yref: "y", xanchor: unseen.x[last] > border / 2 ? "right" : "left" };
  const look = { font: { color: colour.text, size: 12 }, bgcolor: colour.panel, opacity: 0.9 };
  return [words(says, unseen.x[last], (known[last] + unseen.y[last]) / 2, { ...place, ...look })];
}

function frequencies(stage, sheet) {
  const { colour, data } = stage, names = data.classes;
  const shares = sheet?.class_shares;
  const entries = [["made", colour.made, "box"]];
  const traces = shares ? [bars(names, shares.made, "made", colour.made, 0.6, "made %{y:.1%}<extra></extra>")] : [];
  if (shares?.smoothed) {
    const curve = { x: names, y: shares.smoothed };
    const steps = { mode: "lines+markers", marker: { size: 5 } };
    const form = "n̂ %{y:.1%}<extra></extra>";
    traces.push(line(curve, "smoothed n̂", colour.text, { width: 1.6, shape: "hvh" }, form, steps));
    entries.push(["smoothed", colour.text]);
  }
  stage.legend("frequencies", entries, shares ? `step ${sheet.step}; dashed: even` : "");
  const even = 1 / names.length;
  const tallest = Math.max(2 * even, ...traces.flatMap(({ y }) => y));
  const yaxis = { range: [0, 1.08 * tallest], tickformat: ".0%" };
  const layout = { shapes: [evenLine(stage, even)], hovermode: "x", ...byClass(stage, 40, 6), yaxis };
  const at = sheet ? " at step " + sheet.step : "";
  stage.plot("frequencies", traces, layout, `Shares of the classes that the generator made, raw and smoothed${at}`);
}

function colourOf(stage, name) {
  const known = [...stage.termsOf("discriminator"), ...stage.termsOf("generator")];
  return stage.colour.palette[known.indexOf(name) % stage.colour.palette.length];
}

function losses(stage) {
  for (const whom of ["discriminator", "generator"]) {
    const terms = stage.termsOf(whom), shows = (term) => !stage.hidden.has(term);
    const look = (term) => [stage.title(term), colourOf(stage, term)];
    const chips = terms.map((term) => {
      const [title, color] = look(term);
      return [title, shows(term), () => stage.toggle(term), color];
    });
    stage.chips(whom + "-terms", [], chips, "Show or hide this term");
    const curve = (term) => line(stage.curve(term), ...look(term), { width: 1.6 }, "%{y:.3g}");
    const about = "Loss terms " + terms.map((term) => stage.title(term)).join(", ");
    stage.course(whom + "-terms", terms.filter(shows).map(curve), {}, about, { xaxis: stage.axis("gan") });
  }
}

// Two networks, two sums of 100 %.
function health(stage) {
  const weighed = (whom) => stage.termsOf(whom).filter((name) => stage.data.curves["share/" + name]);
  const all = ["discriminator", "generator"].map((whom) => [whom, weighed(whom)]);
  const groups = all.filter(([, terms]) => terms.length), domains = stories(groups.length, 0.08);
  const layout = { annotations: [], shapes: [] };
  const traces = groups.flatMap(([who, terms], index) => {
    const domain = domains[index];
    layout[axisName("yaxis", index)] = { domain, range: [0, 1], tickformat: ".0%", nticks: 3 };
    const look = { font: { color: stage.colour.text }, bgcolor: stage.colour.panel };
    layout.annotations.push(words(who, 0.01, domain[1] - 0.01, { xanchor: "left", yanchor: "top", ...look }));
    const own = { yaxis: axisName("y", index), hovertemplate: "%{y:.0%}" };
    return terms.map((term) => stage.stacked(term, colourOf(stage, term), who, own));
  });
  layout.xaxis = { ...stage.axis("gan"), anchor: groups.length > 1 ? "y2" : "y" };
  stage.legend("health", [], "shares of each network's gradient");
  stage.course("health", traces, layout.yaxis, "Shares of each network's gradient by term", layout);
}

function spread(stage) {
  const { palette } = stage.colour;
  const lines = [["coverage", "coverage", palette[0]], ["diversity", "diversity", palette[3]]];
  stage.shares("spread", lines, "of what the generator makes", { xaxis: stage.axis("gan") });
}
