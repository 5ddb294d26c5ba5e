// The microscope: histogram, projection and grid of one recorded step, with one cut and one selection for all three.
// Python sends items by key when they are asked for; cut, selection, zoom and scrubbing happen here, without a rerun.

const ASK_AGAIN_MS = 2500, PLAY_SECONDS = 20, AHEAD = 8, MOST_ASKED = 32, MOST_BYTES = 96e6;
const FORGOTTEN_MS = 3000; // after which a microscope that is nowhere on the page is given up

class Microscope {
  constructor(host) {
    this.root = element("div", { className: "dfkd-microscope", innerHTML: SKELETON });
    this.root.microscope = this;
    this.settle(host);
    this.at = (name) => this.root.querySelector(".scope-" + name);
    this.items = new Map();
    this.wanted = new Set();
    this.orders = [];
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
    const press = (name, action) => this.at(name).addEventListener("click", () => { action(); this.refresh(); });
    press("clear", () => this.selection.clear());
    press("flags", () => this.selection.take([...this.verdict.flagged.keys()].filter((index) => this.verdict.flagged[index])));
    press("follow", () => { this.stopPlaying(); this.look({ view: null }); });
    press("play", () => (this.timer ? this.stopPlaying(true) : this.play()));
    this.root.querySelectorAll("[data-source]").forEach((button) => button.addEventListener("click", () => this.turnTo(button.dataset.source)));
    const slider = this.at("track").querySelector("input");
    slider.addEventListener("input", () => this.goTo(this.steps[Number(slider.value)]));
    slider.addEventListener("keydown", (event) => this.key(event));
    this.root.addEventListener("keydown", (event) => this.escape(event));
    new ResizeObserver(() => this.refresh()).observe(this.root);
    new IntersectionObserver(([entry]) => {
      this.audit.visible = entry.isIntersecting;
      if (entry.isIntersecting) this.usePlotly();
    }).observe(this.at("audit"));
    this.reminder = setInterval(() => (this.root.isConnected ? this.remind() : this.leave()), 1000);
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
    const moves = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -1e9, End: 1e9 };
    if (!(event.key in moves) || !this.steps.length) return;
    event.preventDefault();
    const place = this.steps.indexOf(this.step) + moves[event.key];
    this.goTo(this.steps[clamp(place, 0, this.steps.length - 1)]);
  }

  usePlotly() {
    if (this.plotly || !this.data) return;
    loadPlotly(this.data.base).then((plotly) => { this.plotly = plotly; this.refresh(); }, (error) => this.say("failed", error.message));
  }

  // --- news from Python ---

  update(data, setStateValue) {
    this.setStateValue = setStateValue;
    if (this.run !== data.run) this.begin(data);
    for (const [kind, layout] of Object.entries(data.layouts)) this.outdated(kind, layout.version);
    this.data = data;
    for (const [key, value] of Object.entries(data.items)) this.receive(key, value);
    this.orders = this.orders.filter((order) => !data.done.includes(order.id));
    this.heard(data.answered);
    if (!this.steps.length && this.data.steps[this.other].length) this.source = this.other;
    this.refresh();
  }

  begin(data) {
    this.stopPlaying();
    this.run = data.run;
    this.items.clear();
    this.wanted.clear();
    this.tags.sheets.clear();
    this.audit.rows = null;
    this.frame = this.verdict = this.opened = this.hovered = null;
    this.selection.reset(0);
    this.projection.scatter.home();
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

  outdated(kind, version) {
    for (const [key, value] of this.items) {
      const [what, of] = key.split(" ");
      if ((what === "layout" || what === "places") && of === kind && version != null && value?.version !== version) this.items.delete(key);
    }
  }

  receive(key, value) {
    const [what, ...about] = key.split(" ");
    this.wanted.delete(key);
    this.items.set(key, value && (this.unpack[what] || ((same) => same))(value, about));
    this.evict();
  }

  unpack = {
    frame: (value, [source, step]) => this.decoded(new Frame(source, Number(step), value)),
    real: (value) => this.decoded(new Frame("real", 0, value)),
    places: ({ version, xy }) => ({ version, xy: xy && typedArray(xy) }),
    layout: (value) => ({ ...value, real: value.real && typedArray(value.real) }),
    inside: (value) => typedArray(value),
    film: (value) => {
      const strip = pngImage(value.strip);
      strip.decode().catch(() => {}).then(() => { this.drawer.drawn = null; this.refresh(); });
      return { ...value, strip };
    },
  };

  decoded(frame) {
    frame.decoded.then(() => this.refresh());
    return frame;
  }

  // Oldest frames first, the one shown never.
  evict() {
    let bytes = 0;
    for (const value of this.items.values()) bytes += value?.bytes || 0;
    for (const [key, value] of this.items) {
      if (bytes < MOST_BYTES) return;
      if (!key.startsWith("frame") || value === this.frame) continue;
      bytes -= value?.bytes || 0;
      this.items.delete(key);
    }
  }

  // --- asking Python ---

  // The item, undefined while it is on its way, null if there is none.
  need(key) {
    if (!this.items.has(key) && !this.wanted.has(key)) {
      this.wanted.add(key);
      this.tell(10);
    }
    return this.items.get(key);
  }

  order(name, about = {}) {
    this.orders.push({ id: `${name}/${Date.now()}/${Math.random()}`, name, ...about });
    this.tell(0);
  }

  // One question at a time, the next when the answer is here: a rerun that begins right behind another can make
  // Streamlit drop what that one drew. An answer that does not come is asked for again.
  tell(after = 150) {
    const due = Date.now() + after;
    if (this.due && this.due <= due) return;
    clearTimeout(this.telling);
    this.due = due;
    this.telling = setTimeout(() => this.send(), after);
  }

  send() {
    this.due = null;
    const now = Date.now();
    this.unsaid = this.waiting && now - this.asked < ASK_AGAIN_MS;
    if (this.unsaid || !this.setStateValue) return;
    this.asked = now;
    this.waiting = `${now}/${Math.random()}`;
    const { source, sort, colour, kind, mark, frame } = this;
    const view = { source, sort, colour, layout: kind, mark, step: this.timer ? null : this.view, tau: this.threshold };
    const chosen = frame && { source: frame.source, step: frame.step, indices: this.selection.indices() };
    const want = [...this.wanted].slice(-MOST_ASKED);
    this.setStateValue("ask", { run: this.run, nonce: this.waiting, want, view, chosen, orders: this.orders });
  }

  heard(nonce) {
    if (nonce !== this.waiting) return;
    this.waiting = null;
    if (this.unsaid || this.wanted.size || this.orders.length) this.tell(0);
  }

  remind() {
    const since = Date.now() - (this.asked || 0), poll = this.data?.poll;
    if (this.waiting ? since > ASK_AGAIN_MS : poll && since > 1000 * poll - 500) this.tell(0);
  }

  // What the scrubber is likely to want next, when nothing else is on its way: the nearest steps, as memory allows.
  ahead() {
    clearTimeout(this.looking);
    this.looking = setTimeout(() => {
      if (this.wanted.size || !this.frame || !this.steps.length) return;
      const here = this.steps.indexOf(this.step), near = (step) => Math.abs(this.steps.indexOf(step) - here);
      const reach = MOST_BYTES / 4 / this.frame.bytes, most = clamp(Math.floor(4e6 / this.frame.bytes), 1, AHEAD);
      const lacking = this.steps.filter((step) => near(step) <= reach && !this.items.has(`frame ${this.source} ${step}`));
      lacking.sort((a, b) => near(a) - near(b)).slice(0, most).forEach((step) => this.askFor(step));
    }, 300);
  }

  askFor(step) {
    const frame = this.need(`frame ${this.source} ${step}`);
    this.need(`places ${this.shownKind} ${this.source} ${step}`);
    this.need(`inside ${this.source} ${step}`);
    return frame;
  }

  // --- moving through the run ---

  get other() { return this.source === "samples" ? "probes" : "samples"; }
  get steps() { return this.data ? this.data.steps[this.source] : []; }

  // The step asked for, or the recorded one nearest to it: the two sources are recorded at different steps.
  get step() {
    const steps = this.steps;
    if (!steps.length || this.view == null) return steps[steps.length - 1] ?? null;
    return steps.reduce((best, step) => (Math.abs(step - this.view) < Math.abs(best - this.view) ? step : best), steps[0]);
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
      if (this.items.get(`frame ${this.source} ${steps[place]}`)?.ready === false) return;
      if (!this.items.has(`frame ${this.source} ${steps[place]}`)) return;
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
    this.tell(250);
    this.refresh();
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

  get real() { return this.items.get("real"); }
  get shownKind() { return this.data.layouts[this.kind]?.there ? this.kind : "pca"; }
  get layout() { return this.need("layout " + this.shownKind); }
  places(frame) { return this.need(`places ${this.shownKind} ${frame.source} ${frame.step}`)?.xy; }
  realPlaces() { return this.layout?.real; }
  inside(frame) { return this.need(`inside ${frame.source} ${frame.step}`); }
  className(label) { return this.data.classes[label] ?? String(label); }

  words(index) {
    const { frame, verdict } = this, name = frame.source === "probes" ? "latent " : "sample ";
    const judged = verdict.clean[index] ? "clean" : verdict.flagged[index] ? "rejected ⚑" : "rejected";
    const posterior = frame.posterior ? `, posterior ${frame.posterior[index].toFixed(2)}` : "";
    return `${name}${index}: ${judged}, the teacher says ${this.className(frame.label[index])} with `
      + `${whole(frame.confidence[index])}, loss ${brief(frame.loss[index])}${posterior}`;
  }

  realWords(index) { return `real image ${index}: class ${this.className(this.real.label[index])}`; }

  announce(words) { this.at("spoken").textContent = words; }

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
    const step = this.step, frame = step == null ? null : this.askFor(step);
    if (frame?.ready && frame !== this.frame) {
      const same = this.frame && this.frame.source === "probes" && frame.source === "probes" && this.frame.count === frame.count;
      this.frame = frame;
      this.verdict = this.hovered = null;
      if (!same) {
        this.opened = null;
        this.selection.reset(frame.count);
        this.selections += 1;
      }
      this.tell(400);
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
    const { data } = this, state = this.at("state");
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
    const { data, steps } = this, slider = this.at("track").querySelector("input");
    slider.max = Math.max(0, steps.length - 1);
    slider.value = steps.indexOf(this.step);
    slider.disabled = steps.length < 2;
    slider.setAttribute("aria-valuetext", this.step == null ? "nothing recorded" : `step ${this.step} of ${data.total}`);
    this.at("where").textContent = this.step == null ? "nothing recorded yet" : `step ${this.step} / ${data.total} · ${steps.length} recorded`;
    const follow = this.at("follow");
    follow.textContent = data.live ? "Follow live" : "To the end";
    follow.setAttribute("aria-pressed", String(this.view == null));
    this.at("play").textContent = this.timer ? "❚❚" : "▶";
    this.at("play").disabled = steps.length < 2;
    this.at("play").setAttribute("aria-label", this.timer ? "Stop playing" : "Play the run");
  }

  status() {
    const { frame, verdict, selection } = this, flags = this.at("flags"), box = this.at("verdict");
    box.replaceChildren(...this.sentence());
    flags.hidden = !verdict?.flags;
    if (verdict?.flags) {
      flags.textContent = "⚑ " + verdict.flags;
      flags.title = "Rejected although the teacher is surer of them than of any clean sample: the accepted region has two boundaries. Click to select them.";
    }
    this.at("chosen").textContent = frame ? `${selection.size} / ${frame.count} selected` : "";
    this.at("clear").disabled = !selection.size;
    this.at("tags").hidden = !frame;
  }

  sentence() {
    const { frame, verdict, data } = this;
    if (!frame) return [];
    const bold = (text) => element("b", {}, text);
    if (!frame.mixture) return ["This method rejects nothing: all ", bold(String(frame.count)), " are learned from."];
    const own = frame.clean.reduce((sum, flag) => sum + flag, 0), cut = frame.mixture.threshold;
    if (!verdict.hypothetical) {
      const not = data.selection ? "" : " Selection is off: the verdict was not applied.";
      return ["kept ", bold(`${own} of ${frame.count}`), ` at τ ${cut.toFixed(2)}.${not}`];
    }
    return ["kept ", bold(`${own} → ${verdict.kept} of ${frame.count}`), ` at τ ${verdict.threshold.toFixed(2)}; the run used ${cut.toFixed(2)}.`];
  }

  // For tests and measurements: what is shown, in words.
  mirror() {
    const { frame, verdict, selection } = this;
    Object.assign(this.root.dataset, {
      run: this.run, state: this.data.state, source: this.source, step: frame?.step ?? "", count: frame?.count ?? 0,
      kept: verdict?.kept ?? 0, tau: verdict?.threshold ?? "", selected: selection.size, kind: this.shownKind,
      projected: String(Boolean(this.projection.scatter.points)), opened: this.opened ?? "", version: this.data.version,
      paints: Number(this.root.dataset.paints || 0) + 1,
    });
  }
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const host = parentElement.querySelector(".dfkd-host") || parentElement;
  const known = window.dfkdMicroscope;
  if (!known) window.dfkdMicroscope = new Microscope(host);
  else if (!host.contains(known.root)) known.settle(host);
  window.dfkdMicroscope.update(data, setStateValue);
}
