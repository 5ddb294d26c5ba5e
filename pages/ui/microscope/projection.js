// The panel around the scatter: which layout, which colours, what they mean, and the job that fits a slow layout.

const KINDS = { pca: "PCA", umap: "UMAP", tsne: "t-SNE" };
const COLOURS = { verdict: "verdict", class: "class", loss: "loss", posterior: "posterior", tag: "tag" };
const MOST_NAMED = 12; // classes in a legend

class Projection {
  constructor(panel, scope) {
    this.panel = panel;
    this.scope = scope;
    this.scatter = new Scatter(panel, scope);
    this.at = (name) => panel.querySelector(".scope-" + name);
    this.each = (attribute, act) =>
      panel.querySelectorAll(`[data-${attribute}]`).forEach((button) => act(button, button.dataset[attribute]));
    this.each("kind", (button, kind) => button.addEventListener("click", () => this.choose(kind)));
    this.each("tool", (button, tool) => button.addEventListener("click", () => this.use(tool)));
    choices(this.at("colour"), COLOURS, (value) => scope.look({ colour: value }));
    this.at("mark").addEventListener("click", () =>
      scope.look({ mark: scope.mark === "boundary" ? "verdict" : "boundary" }),
    );
  }

  // --- hands ---

  // A layout that is not there yet is fitted in the background; until it is, the principal components are shown.
  choose(kind) {
    const { there, job } = this.scope.data.layouts[kind];
    this.scope.look({ kind });
    if (!there && job.state !== "running") this.scope.order("fit", { layout: kind });
  }

  use(tool) {
    if (tool === "home") this.scatter.home();
    else this.scatter.tool = tool;
    this.scope.refresh();
  }

  // --- drawing ---

  draw() {
    const { scope } = this;
    const { data, frame } = scope;
    this.each("kind", (button, kind) => button.setAttribute("aria-pressed", String(kind === scope.kind)));
    this.each("tool", (button, tool) => {
      if (tool !== "home") button.setAttribute("aria-pressed", String(tool === this.scatter.tool));
    });
    this.at("colour").value = scope.colour;
    this.at("colour").querySelector("option[value=posterior]").disabled = Boolean(frame) && !frame.posterior;
    const mark = this.at("mark");
    const known = Boolean(frame && scope.inside(frame));
    mark.disabled = !known;
    mark.title = known
      ? "Star: inside the boundary of the real class; cross: outside (Fig. 4 of TA-DFKD)"
      : "Needs real images and the teacher's features kept with the run";
    mark.setAttribute("aria-pressed", String(known && scope.mark === "boundary"));
    if (data.real) scope.need("real");
    this.empty();
    this.legend(known && scope.mark === "boundary");
    this.job();
    this.note(known && scope.mark === "boundary");
    this.scatter.draw();
  }

  empty() {
    const { scope } = this;
    const { frame } = scope;
    const box = this.at("empty");
    const places = frame && scope.places(frame);
    const words = !frame
      ? scope.nothing()
      : places === null
        ? "This run kept no features of its samples, so there is nothing to project. Runs started from Distill keep them."
        : places === undefined
          ? "Projecting…"
          : "";
    box.textContent = words;
    box.hidden = !words;
  }

  legend(boundary) {
    const { scope } = this;
    const { theme, frame, data } = scope;
    const box = this.at("map-legend");
    const shapes = boundary
      ? [
          ["★ inside", theme.text, "none"],
          ["× outside", theme.text, "none"],
        ]
      : [];
    if (data.real) shapes.unshift(["real", scope.colour === "class" ? theme.muted : theme.real, "dot"]);
    if (!frame) return legend(box, []);
    if (scope.colour === "verdict")
      return legend(box, [
        ...shapes,
        ["clean", theme.clean, "disc"],
        ["rejected", theme.rejected, boundary ? "disc" : "ring"],
      ]);
    if (scope.colour === "class")
      return legend(
        box,
        [...shapes, ...this.classes()],
        data.classes.length > MOST_NAMED ? `${data.classes.length} classes: point at a sample for its own` : "",
      );
    if (scope.colour === "tag")
      return legend(
        box,
        [...shapes, ...scope.tags.names.map((name) => [name, scope.tags.colour(name), "disc"])],
        scope.tags.names.length ? "grey: no tag" : "no tags yet: select samples, then Tag",
      );
    const ends =
      scope.colour === "loss" ? [brief(frame.low), brief(frame.high) + " nats, square-root scale"] : ["0", "1"];
    legend(box, [
      ...shapes,
      [`${scope.colour} ${ends[0]}`, rampColour(theme, 0), "disc"],
      ["", rampColour(theme, 0.33), "disc"],
      ["", rampColour(theme, 0.67), "disc"],
      [ends[1], rampColour(theme, 1), "disc"],
    ]);
  }

  classes() {
    const { data, theme } = this.scope;
    return data.classes.slice(0, MOST_NAMED).map((name, label) => [name, classColour(theme, label), "disc"]);
  }

  job() {
    const { scope } = this;
    const box = this.at("job");
    const layout = scope.data.layouts[scope.kind];
    const { job } = layout;
    const key = JSON.stringify([scope.run, scope.kind, layout]);
    if (key === this.drawnJob) return;
    this.drawnJob = key;
    box.hidden = job.state !== "running" && (layout.there || scope.kind === "pca");
    if (box.hidden) return;
    const title = KINDS[scope.kind];
    const button = (words, name) => {
      const made = element("button", {}, words);
      made.addEventListener("click", () => scope.order(name, { layout: scope.kind }));
      return made;
    };
    if (job.state !== "running") {
      const why = job.state === "failed" ? job.message : `${title} has not been fitted for this run yet; PCA is shown.`;
      return box.replaceChildren(
        element("span", {}, why),
        button(job.state === "failed" ? "Try again" : "Fit " + title, "fit"),
      );
    }
    const left = job.left == null ? "" : ` · ${duration(job.left)} left`;
    const bar = element("progress", { max: 1, value: job.share, "aria-label": title });
    box.replaceChildren(element("span", {}, `${job.message}${left}`), bar, button("Stop", "halt"));
  }

  note(boundary) {
    const { scope } = this;
    const { data } = scope;
    const layout = scope.questions.get("layout " + scope.shownKind);
    const key = [layout?.fitted, data.newest, boundary, scope.shownKind, data.figure4.is].join("|");
    if (key === this.drawnNote) return;
    this.drawnNote = key;
    const parts = [];
    if (layout && layout.fitted < data.newest) {
      const again = element("button", { title: "Fit the layout to all recorded steps" }, "Fit again");
      again.addEventListener("click", () => scope.order("fit", { layout: scope.shownKind }));
      parts.push(element("span", {}, `layout fitted on steps ≤ ${layout.fitted} `), again);
    }
    if (boundary && !data.figure4.is) {
      const link = element(
        "a",
        { href: data.figure4.href, target: "_blank", rel: "noopener" },
        "Open Distill with these knobs",
      );
      parts.push(element("span", {}, "Fig. 4 shows a run with class prior, without adversarial term. "), link);
    }
    this.at("note").replaceChildren(...parts);
  }
}
