// The microscope: histogram, projection and grid of one recorded step, with one cut and one selection for all three.
// Python sends items by key when they are asked for; cut, selection, zoom and scrubbing happen here, without a rerun.

const PLAY_SECONDS = 20;
const AHEAD = 8; // steps asked for before they are looked at
const HEAVY_BYTES = 2e6; // a frame above this is not asked for before
const FORGOTTEN_MS = 3000; // after which a microscope that is nowhere on the page is given up

class Microscope {
  constructor(host) {
    this.root = element("div", { className: "dfkd-microscope", innerHTML: SKELETON });
    this.root.microscope = this;
    this.settle(host);
    this.at = (name) => this.root.querySelector(".scope-" + name);
    this.questions = new Questions(this);
    this.selections = this.verdicts = 0;
    this.selection = new Selection(() => this.selected());
    this.histogram = new Histogram(this.at("judged"), this);
    this.bars = new ClassBars(this.at("classes"), this);
    this.projection = new Projection(this.at("map"), this);
    this.grid = new Grid(this.at("images"), this);
    this.drawer = new Drawer(this.at("drawer"), this);
    this.tags = new Tags(this.at("tags"), this);
    this.audit = new Audit(this.at("audit"), this);
    this.listen();
  }

  // --- hands ---

  listen() {
    const press = (name, action) =>
      this.at(name).addEventListener("click", () => {
        action();
        this.refresh();
      });
    press("clear", () => this.selection.clear());
    press("flags", () =>
      this.selection.take([...this.verdict.flagged.keys()].filter((index) => this.verdict.flagged[index])),
    );
    press("follow", () => {
      this.stopPlaying();
      this.look({ view: null });
    });
    press("play", () => (this.timer ? this.stopPlaying(true) : this.play()));
    press("distill", () => this.order("distill", { step: this.view }));
    this.root
      .querySelectorAll("[data-form]")
      .forEach((button) => button.addEventListener("click", () => this.export(button.dataset.form)));
    this.root
      .querySelectorAll("[data-source]")
      .forEach((button) => button.addEventListener("click", () => this.turnTo(button.dataset.source)));
    const slider = this.at("track").querySelector("input");
    slider.addEventListener("input", () => this.goTo(this.steps[Number(slider.value)]));
    slider.addEventListener("keydown", (event) => this.key(event));
    this.root.addEventListener("keydown", (event) => this.escape(event));
    new ResizeObserver(() => this.refresh()).observe(this.root);
    new IntersectionObserver(([entry]) => {
      this.audit.visible = entry.isIntersecting;
      if (entry.isIntersecting) this.usePlotly();
    }).observe(this.at("audit"));
    this.reminder = setInterval(() => (this.root.isConnected ? this.questions.remind() : this.leave()), 1000);
  }

  // A rerun can take the component off the page for a moment; it comes back as it was.
  leave() {
    this.left = this.left || Date.now();
    if (Date.now() - this.left < FORGOTTEN_MS) return;
    clearInterval(this.reminder);
    this.stopPlaying();
    if (window.dfkdMicroscope === this) window.dfkdMicroscope = null;
  }

  settle(host) {
    this.left = null;
    host.appendChild(this.root);
  }

  escape(event) {
    if (event.key !== "Escape") return;
    if (this.opened != null) this.close();
    else this.selection.clear();
  }

  key(event) {
    const moves = {
      ArrowLeft: -1,
      ArrowDown: -1,
      ArrowRight: 1,
      ArrowUp: 1,
      PageDown: -10,
      PageUp: 10,
      Home: -1e9,
      End: 1e9,
    };
    if (!(event.key in moves) || !this.steps.length) return;
    event.preventDefault();
    const place = this.steps.indexOf(this.step) + moves[event.key];
    this.goTo(this.steps[clamp(place, 0, this.steps.length - 1)]);
  }

  usePlotly() {
    if (this.plotly || !this.data) return;
    loadPlotly(this.data.base).then(
      (plotly) => {
        this.plotly = plotly;
        this.refresh();
      },
      (error) => this.say("failed", error.message),
    );
  }

  // --- news from Python ---

  update(data, setStateValue) {
    if (this.run !== data.run) this.begin(data);
    this.data = data;
    this.questions.answered(data, setStateValue);
    if (!this.steps.length && data.steps[this.other].length) this.source = this.other;
    this.refresh();
  }

  begin(data) {
    this.stopPlaying();
    this.run = data.run;
    this.questions.begin();
    this.tags.sheets.clear();
    this.audit.rows = null;
    this.frame = this.verdict = this.opened = this.hovered = null;
    this.selection.reset(0);
    this.projection.scatter.home();
    this.root.querySelectorAll("a[data-term]").forEach((link) => {
      link.href = `${data.base}/glossary?term=${link.dataset.term.replaceAll(" ", "-")}`;
    });
    const view = data.view;
    this.view = view.step;
    this.threshold = view.tau;
    this.source = view.source || "samples";
    this.sort = view.sort || "loss";
    this.colour = view.colour || "verdict";
    this.kind = view.layout || "pca";
    this.mark = view.mark || "verdict";
    this.show = "all";
  }

  // --- asking Python ---

  need(key) {
    return this.questions.need(key);
  }
  order(name, about) {
    this.questions.order(name, about);
  }
  tell(after) {
    this.questions.tell(after);
  }

  // For the address bar.
  told() {
    const { source, sort, colour, kind, mark } = this;
    const view = { source, sort, colour, layout: kind, mark, step: this.timer ? null : this.view, tau: this.threshold };
    return { run: this.run, view };
  }

  // What the scrubber is likely to want next, when nothing else is on its way: the nearest steps, as memory allows.
  ahead() {
    clearTimeout(this.looking);
    this.looking = setTimeout(() => {
      if (this.questions.wanted.size || !this.steps.length || !this.frame || this.frame.bytes > HEAVY_BYTES) return;
      const here = this.steps.indexOf(this.step);
      const near = (step) => Math.abs(this.steps.indexOf(step) - here);
      const reach = MOST_BYTES / 4 / this.frame.bytes;
      const most = clamp(Math.floor(HEAVY_BYTES / this.frame.bytes), 1, AHEAD);
      const lacking = this.steps.filter(
        (step) => near(step) <= reach && !this.questions.has(`frame ${this.source} ${step}`),
      );
      lacking
        .sort((a, b) => near(a) - near(b))
        .slice(0, most)
        .forEach((step) => this.askFor(step));
    }, 300);
  }

  askFor(step) {
    const frame = this.need(`frame ${this.source} ${step}`);
    this.need(`places ${this.shownKind} ${this.source} ${step}`);
    this.need(`inside ${this.source} ${step}`);
    return frame;
  }

  // --- moving through the run ---

  get other() {
    return this.source === "samples" ? "probes" : "samples";
  }
  get steps() {
    return this.data ? this.data.steps[this.source] : [];
  }

  // The step asked for, or the recorded one nearest to it: the two sources are recorded at different steps.
  get step() {
    const steps = this.steps;
    if (!steps.length || this.view == null) return steps[steps.length - 1] ?? null;
    return steps.reduce(
      (best, step) => (Math.abs(step - this.view) < Math.abs(best - this.view) ? step : best),
      steps[0],
    );
  }

  goTo(step, playing = false) {
    if (step == null) return;
    if (!playing) this.stopPlaying();
    this.view = step;
    if (!playing) this.tell();
    this.refresh();
  }

  turnTo(source) {
    if (source === this.source || !this.data.steps[source].length) return;
    if (this.timer) this.stopPlaying(true);
    this.look({ source });
  }

  // Looks at something else, or in another way; the address bar follows.
  look(change) {
    Object.assign(this, change);
    this.tell();
    this.refresh();
  }

  play() {
    if (this.steps.length < 2) return;
    let place = this.steps.indexOf(this.step);
    if (place >= this.steps.length - 1) place = 0;
    const pace = clamp((1000 * PLAY_SECONDS) / this.steps.length, 150, 700);
    this.timer = setInterval(() => {
      const steps = this.steps;
      steps.slice(place, place + AHEAD).forEach((step) => this.askFor(step));
      const frame = this.askFor(steps[place]);
      if (frame === undefined || frame?.ready === false) return;
      this.goTo(steps[place], true);
      place += 1;
      if (place >= steps.length) this.stopPlaying(true);
    }, pace);
  }

  stopPlaying(tell = false) {
    if (!this.timer) return;
    clearInterval(this.timer);
    this.timer = null;
    if (tell) this.tell();
  }

  // --- cut, selection, one sample ---

  cut(threshold) {
    const own = this.frame?.mixture?.threshold;
    this.threshold = threshold != null && own != null && Math.abs(threshold - own) < 1e-9 ? null : threshold;
    this.verdict = null;
    this.tell(400);
    this.refresh();
  }

  selected() {
    this.selections += 1;
    this.grid.seek();
    this.refresh();
  }

  // The selected samples, or all, as a file.
  export(form) {
    const { frame, selection } = this;
    const chosen = selection.size ? selection.indices().join(",") : "all";
    this.need(["export", form, this.shownKind, frame.source, frame.step, chosen].join(" "));
  }

  hover(index) {
    if (this.hovered === index) return;
    this.hovered = index;
    this.refresh("hover");
  }

  open(index, from) {
    this.opened = index;
    this.openedFrom = from || this.openedFrom || "right";
    this.refresh();
  }

  jump(index) {
    this.selection.take([index]);
    this.open(index);
  }

  close() {
    this.opened = null;
    this.refresh();
  }

  // --- what the views ask ---

  get real() {
    return this.questions.get("real");
  }
  get shownKind() {
    return this.data.layouts[this.kind]?.there ? this.kind : "pca";
  }
  get layout() {
    return this.need("layout " + this.shownKind);
  }
  places(frame) {
    return this.need(`places ${this.shownKind} ${frame.source} ${frame.step}`)?.xy;
  }
  realPlaces() {
    return this.layout?.real;
  }
  inside(frame) {
    return this.need(`inside ${frame.source} ${frame.step}`);
  }
  className(label) {
    return this.data.classes[label] ?? String(label);
  }

  words(index) {
    const { frame, verdict } = this;
    const name = frame.source === "probes" ? "latent " : "sample ";
    const judged = verdict.clean[index] ? "clean" : verdict.flagged[index] ? "rejected ⚑" : "rejected";
    const posterior = frame.posterior ? `, posterior ${frame.posterior[index].toFixed(2)}` : "";
    return (
      `${name}${index}: ${judged}, the teacher says ${this.className(frame.label[index])} with ` +
      `${whole(frame.confidence[index])}, loss ${brief(frame.loss[index])}${posterior}`
    );
  }

  realWords(index) {
    return `real image ${index}: class ${this.className(this.real.label[index])}`;
  }

  // Why no images are shown, and what to do about it.
  nothing() {
    if (this.questions.get(`frame ${this.source} ${this.step}`) === null)
      return "The images of this step cannot be read.";
    if (this.steps.length) return "Loading the images of this step…";
    if (this.data.poll && this.data.state !== "done") return "The first images appear after the first step.";
    return "This run recorded no images. Choose another one on the left, or start one in Distill.";
  }

  announce(words) {
    this.at("spoken").textContent = words;
  }

  // --- drawing ---

  refresh(part = "all") {
    this.dirty = this.dirty === "all" ? "all" : part;
    if (this.painting) return;
    this.painting = requestAnimationFrame(() => {
      const what = this.dirty;
      this.painting = this.dirty = null;
      if (this.data) this.paint(what);
    });
  }

  paint(part) {
    if (part === "hover") {
      this.grid.draw();
      return this.projection.scatter.overlay();
    }
    this.theme = themeOf(this.root);
    this.take();
    this.head();
    this.track();
    this.status();
    for (const view of [this.histogram, this.bars, this.grid, this.projection]) view.draw();
    this.tags.draw();
    this.drawer.draw();
    this.audit.draw();
    this.mirror();
    this.ahead();
  }

  // The frame of the step, as soon as its images are decoded; until then the one before stays.
  take() {
    const step = this.step;
    const frame = step == null ? null : this.askFor(step);
    if (frame?.ready && frame !== this.frame) {
      const same =
        this.frame && this.frame.source === "probes" && frame.source === "probes" && this.frame.count === frame.count;
      this.frame = frame;
      this.verdict = this.hovered = null;
      if (!same) {
        this.opened = null;
        this.selection.reset(frame.count);
        this.selections += 1;
      }
    } else if (frame === null || step == null) this.frame = this.verdict = null;
    if (!this.frame) return;
    this.tags.refresh(this.frame);
    if (!this.verdict) {
      this.verdict = judge(this.frame, this.threshold);
      this.verdicts += 1;
    }
  }

  say(state, message) {
    const box = this.at("message");
    box.hidden = !message;
    box.dataset.state = state;
    box.textContent = message || "";
  }

  head() {
    const { data } = this;
    const state = this.at("state");
    this.at("title").textContent = data.title;
    state.textContent = data.badge;
    state.dataset.state = data.state;
    this.root.querySelectorAll(".scope-switch button").forEach((button) => {
      button.disabled = !data.steps[button.dataset.source].length;
      button.setAttribute("aria-pressed", String(button.dataset.source === this.source));
    });
    const problem = data.problem || data.tags.problem;
    this.say(problem ? "failed" : data.state, problem || data.message);
  }

  track() {
    const { data, steps } = this;
    const slider = this.at("track").querySelector("input");
    slider.max = Math.max(0, steps.length - 1);
    slider.value = steps.indexOf(this.step);
    slider.disabled = steps.length < 2;
    slider.setAttribute(
      "aria-valuetext",
      this.step == null ? "nothing recorded" : `step ${this.step} of ${data.total}`,
    );
    this.at("where").textContent =
      this.step == null ? "nothing recorded yet" : `step ${this.step} / ${data.total} · ${steps.length} recorded`;
    const follow = this.at("follow");
    follow.textContent = data.live ? "Follow live" : "To the end";
    follow.setAttribute("aria-pressed", String(this.view == null));
    this.at("play").textContent = this.timer ? "❚❚" : "▶";
    this.at("play").disabled = steps.length < 2;
    this.at("play").setAttribute("aria-label", this.timer ? "Stop playing" : "Play the run");
  }

  status() {
    const { frame, verdict, selection } = this;
    const flags = this.at("flags");
    const box = this.at("verdict");
    box.replaceChildren(...this.sentence());
    flags.hidden = !verdict?.flags;
    if (verdict?.flags) {
      flags.textContent = "⚑ " + verdict.flags;
      flags.title =
        "Rejected although the teacher is surer of them than of any clean sample: the accepted region has two " +
        "boundaries. Click to select them.";
    }
    this.at("chosen").textContent = frame ? `${selection.size} / ${frame.count} selected` : "";
    this.at("clear").disabled = !selection.size;
    this.at("tags").hidden = this.at("export").hidden = !frame;
    const exported = selection.size ? `${selection.size} selected` : `all ${frame?.count}`;
    this.at("export").querySelector("span").textContent = `Export ${exported}`;
  }

  sentence() {
    const { frame, verdict, data } = this;
    if (!frame) return [];
    const bold = (text) => element("b", {}, text);
    if (!frame.mixture) return ["This method rejects nothing: all ", bold(String(frame.count)), " are learned from."];
    const own = frame.clean.reduce((sum, flag) => sum + flag, 0);
    const cut = frame.mixture.threshold;
    if (!verdict.hypothetical) {
      const not = data.selection ? "" : " Selection is off: the verdict was not applied.";
      return ["kept ", bold(`${own} of ${frame.count}`), ` at τ ${cut.toFixed(2)}.${not}`];
    }
    return [
      "kept ",
      bold(`${own} → ${verdict.kept} of ${frame.count}`),
      ` at τ ${verdict.threshold.toFixed(2)}; the run used ${cut.toFixed(2)}.`,
    ];
  }

  // For tests and measurements: what is shown, in words.
  mirror() {
    const { frame, verdict, selection } = this;
    Object.assign(this.root.dataset, {
      run: this.run,
      state: this.data.state,
      source: this.source,
      step: frame?.step ?? "",
      count: frame?.count ?? 0,
      kept: verdict?.kept ?? 0,
      tau: verdict?.threshold ?? "",
      selected: selection.size,
      kind: this.shownKind,
      projected: String(Boolean(this.projection.scatter.points)),
      opened: this.opened ?? "",
      version: this.data.version,
      paints: Number(this.root.dataset.paints || 0) + 1,
    });
  }
}

export default function mount(component) {
  const { data, parentElement, setStateValue } = component;
  const host = parentElement.querySelector(".dfkd-host") || parentElement;
  const known = window.dfkdMicroscope;
  if (!known) window.dfkdMicroscope = new Microscope(host);
  else if (!host.contains(known.root)) known.settle(host);
  window.dfkdMicroscope.update(data, setStateValue);
}
