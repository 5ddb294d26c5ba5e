// The panel around the scatter: which layout, which colours, what they mean, and the job that fits a slow layout.

import { eachOf, element, legend, link, onClick, once, options, press, pressable, say } from "../web/dom.js";
import { brief, duration } from "../web/numbers.js";
import { classColour, rampColour } from "../web/theme.js";
import { Scatter } from "./scatter.js";

const KINDS = { pca: "PCA", umap: "UMAP", tsne: "t-SNE" };
const COLOURS = ["verdict", "class", "loss", "posterior", "tag"];
const MOST_NAMED = 12; // classes in a legend
const RAMP = [0, 0.33, 0.67, 1]; // shares that a legend shows
const EMBEDDED =
  "Samples that the layout was not fitted to stand among the nearest that it was; outliers do not show. ";
const NO_FEATURES =
  "This run kept no features of its samples, so there is nothing to project. Runs started from Distill keep them.";

export class Projection {
  constructor(panel, scope) {
    Object.assign(this, { panel, scope });
    this.scatter = new Scatter(panel, scope);
    this.at = (name) => panel.querySelector(".scope-" + name);
    onClick(panel, "kind", (kind) => this.choose(kind));
    onClick(panel, "tool", (tool) => this.use(tool));
    options(this.at("colour"), COLOURS, (colour) => scope.look({ colour }));
    const other = { boundary: "verdict", verdict: "boundary" };
    this.at("mark").addEventListener("click", () => scope.look({ mark: other[scope.mark] }));
  }

  // A layout that is not there yet is fitted in the background; until it is, the principal components are shown.
  choose(kind) {
    const { there, job } = this.scope.data.layouts[kind];
    this.scope.look({ kind });
    if (!there && job.state !== "running") this.scope.order("fit", { layout: kind });
  }

  use(tool) {
    if (tool === "home") return this.scatter.home();
    this.scatter.tool = tool;
    this.scope.refresh();
  }

  draw() {
    const { scope } = this, { data, frame } = scope;
    eachOf(this.panel, "kind", (button, kind) => press(button, kind === scope.shownKind));
    eachOf(this.panel, "tool", (button, tool) => { if (tool !== "home") press(button, tool === this.scatter.tool); });
    this.at("colour").value = scope.colour;
    this.at("colour").querySelector("option[value=posterior]").disabled = Boolean(frame) && !frame.posterior;
    const mark = this.at("mark"), known = Boolean(frame && scope.inside(frame));
    const boundary = known && scope.mark === "boundary";
    mark.disabled = !known;
    mark.title = known
      ? "Star: inside the boundary of the real class; cross: outside (Fig. 4 of TA-DFKD)"
      : "Needs real images and the teacher's features kept with the run";
    press(mark, boundary);
    if (data.real) scope.need("real");
    say(this.at("empty"), this.nothing());
    legend(this.at("map-legend"), ...(frame ? this.legend(boundary) : [[]]));
    this.job();
    this.note(boundary);
    this.scatter.draw();
  }

  // Why nothing is projected; empty where something is.
  nothing() {
    const { frame } = this.scope;
    if (!frame) return this.scope.nothing();
    const places = this.scope.places(frame);
    if (places === null) return NO_FEATURES;
    return places === undefined ? "Projecting…" : "";
  }

  // Its entries, and a note.
  legend(boundary) {
    const { theme, frame, data, colour, tags } = this.scope, { classes } = data;
    const shapes = data.real ? [["real", colour === "class" ? theme.muted : theme.real, "speck"]] : [];
    if (boundary) shapes.push(["★ inside", theme.text, "none"], ["× outside", theme.text, "none"]);
    const disc = (words, paint) => [words, paint, "disc"];
    const ramp = (low, high) =>
      [`${colour} ${low}`, "", "", high].map((words, place) => disc(words, rampColour(theme, RAMP[place])));
    const named = classes.slice(0, MOST_NAMED).map((name, label) => disc(name, classColour(theme, label)));
    const rest = classes.length > MOST_NAMED ? `${classes.length} classes: point at a sample for its own` : "";
    const [entries, note] = {
      verdict: () => [[disc("clean", theme.clean), ["rejected", theme.rejected, boundary ? "disc" : "ring"]]],
      class: () => [named, rest],
      tag: () => [
        tags.names.map((name) => disc(name, tags.colour(name))),
        tags.names.length ? "grey: no tag" : "no tags yet: select samples, then Tag",
      ],
      loss: () => [ramp(brief(frame.low), brief(frame.high) + " nats, square-root scale")],
      posterior: () => [ramp("0", "1")],
    }[colour]();
    return [[...shapes, ...entries], note];
  }

  job() {
    const { scope } = this, layout = scope.data.layouts[scope.kind];
    once(this.at("job"), [scope.run, scope.kind, layout], (box) => {
      const { job, there } = layout, [running, failed] = [job.state === "running", job.state === "failed"];
      box.hidden = !running && (there || scope.kind === "pca");
      if (box.hidden) return;
      const title = KINDS[scope.kind];
      const button = (words, name) => pressable(words, () => scope.order(name, { layout: scope.kind }));
      if (!running) {
        const why = failed ? job.message : `${title} has not been fitted for this run yet; PCA is shown.`;
        return box.replaceChildren(element("span", why), button(failed ? "Try again" : "Fit " + title, "fit"));
      }
      const left = job.left == null ? "" : ` · ${duration(job.left)} left`;
      const bar = element("progress", { max: 1, value: job.share, "aria-label": title });
      box.replaceChildren(element("span", job.message + left), bar, button("Stop", "halt"));
    });
  }

  note(boundary) {
    const { scope } = this, { data, shownKind: layout } = scope;
    const fitted = scope.questions.get("layout " + layout)?.fitted;
    once(this.at("note"), [fitted, data.newest, boundary, layout, data.figure4], (box) => {
      const parts = layout === "pca" ? [] : [element("span", EMBEDDED)];
      if (fitted < data.newest) {
        const about = { title: "Fit the layout to all recorded steps" };
        const again = pressable("Fit again", () => scope.order("fit", { layout }), about);
        parts.push(element("span", `layout fitted on steps ≤ ${fitted} `), again);
      }
      if (boundary && !data.figure4.is) {
        const words = "Fig. 4 shows a run with class prior, without adversarial term. ";
        parts.push(element("span", words), link("Open Distill with these knobs", data.figure4.href, "_blank"));
      }
      box.replaceChildren(...parts);
    });
  }
}
