// What the stages of a run share: head, scrubber with its marks, playing, asking Python for recorded sheets, plots.
// Fed by Python with rows since the last look; scrubbing, playing and zooming happen here, without a rerun of the page.
// A stage brings a skeleton of panels, and draws them in `drawCurves` and, where they show one sheet, `drawSheets`.

const TITLES = {
  student_loss: "student loss", adversarial: "adversarial", bn_statistics: "BN statistics", l2: "image norm",
  tv: "total variation", class_prior: "class prior", class_balance: "class balance", activation: "activation",
  adversarial_d: "adversarial (D)", adversarial_g: "adversarial (G)", class_real: "class, real", class_fake: "class, fake",
  class_g: "class (G)", blend: "blend", transfer: "transfer", frequency: "frequency", entropy: "entropy",
  output_kl: "output KL", latent_match: "latent match", reconstruction: "reconstruction", kl: "KL", guidance: "guidance",
};
const OF_DISCRIMINATOR = ["adversarial_d", "class_real", "class_fake", "blend", "transfer"];
const PLAY_SECONDS = 20, ASK_AHEAD = 12, ASK_AGAIN_MS = 2500;
const title = (name) => TITLES[name] || name.replaceAll("_", " ");
const HEAD = `
  <div class="dfkd-head"><div class="dfkd-score"></div><div class="dfkd-what"></div></div>
  <div class="dfkd-message" role="status" hidden></div>
  <div class="dfkd-track">
    <button class="dfkd-play" title="Play the run from here">▶</button>
    <div class="dfkd-slide"><div class="dfkd-bar"><div class="dfkd-fill"></div></div><div class="dfkd-entries"></div>
      <input type="range" min="0" step="1" aria-label="Training step shown"></div>
    <div class="dfkd-where"></div>
    <button class="dfkd-follow" title="Always show the newest step">Follow live</button>
    <button class="dfkd-slowly" title="One step, phase by phase, with its tensors">Slow motion</button>
  </div>
  <section class="dfkd-slow" hidden aria-label="Slow motion"></section>
  <div class="dfkd-alarms" role="alert"></div>`;

class Player {
  constructor(root, skeleton) {
    this.root = document.createElement("div");
    this.root.className = "dfkd-stage";
    this.root.innerHTML = HEAD + skeleton;
    root.appendChild(this.root);
    this.at = (name) => this.root.querySelector(".dfkd-" + name);
    this.drawn = {};
    this.frames = new Map();
    this.asked = new Map();
    this.nonce = 0;
    const slider = this.at("slide").querySelector("input");
    slider.addEventListener("input", () => this.goTo(this.nearestFrame(Number(slider.value))));
    slider.addEventListener("keydown", (event) => this.key(event));
    this.slow = new SlowMotion(this, this.at("slow"));
    this.at("slowly").addEventListener("click", () => (this.slow.on ? this.slow.leave() : this.slow.enter()));
    this.at("follow").addEventListener("click", () => this.followLive());
    this.at("play").addEventListener("click", () => (this.timer ? this.stopPlaying(true) : this.play()));
  }

  // --- news from Python ---

  update(data, setStateValue) {
    this.setStateValue = setStateValue;
    if (this.run !== data.run) {
      this.stopPlaying();
      this.run = data.run;
      this.frames.clear();
      this.asked.clear();
      this.slow.reset();
      this.forget();
      this.view = data.view ?? null;
      this.autoplay = data.autoplay && data.view == null;
    }
    for (const [step, frame] of Object.entries(data.frames)) this.frames.set(Number(step), frame);
    this.data = data;
    this.slow.update();
    if (this.slow.on) this.autoplay = false;
    if (this.autoplay && data.steps.length > 1) {
      this.autoplay = false;
      this.play(0);
    }
    this.arrived();
    this.draw();
    if (!this.plotly) loadPlotly(data.base).then((plotly) => { this.plotly = plotly; this.draw(); }, (error) => this.say("failed", error.message));
  }

  // What a stage does when there is news, and what it forgets with the run.
  arrived() {}
  forget() {}

  ask(steps) {
    const now = Date.now();
    const missing = steps.filter((step) => !this.frames.has(step) && now - (this.asked.get(step) || 0) > ASK_AGAIN_MS);
    if (!missing.length) return;
    missing.forEach((step) => this.asked.set(step, now));
    this.tell(missing);
  }

  tell(want = []) {
    clearTimeout(this.telling);
    this.wanted = [...new Set([...(this.wanted || []), ...want])];
    this.telling = setTimeout(() => {
      this.nonce += 1;
      this.setStateValue("ask", {
        run: this.run, nonce: this.nonce + "/" + Date.now(), want: this.wanted.slice(0, 16), view: this.playing ? null : this.view,
        slow: this.slow.on && this.slow.step != null ? [this.slow.step, this.slow.phase] : null, command: this.commanded || "",
        ...this.alsoTold?.(),
      });
      this.wanted = [];
      this.commanded = "";
    }, want.length && !this.timer ? 30 : 150);
  }

  command(name) {
    this.commanded = name;
    this.tell();
  }

  // --- moving through the run ---

  get lastFrame() { return this.data.steps.length ? this.data.steps[this.data.steps.length - 1] : null; }
  get step() { return this.view ?? this.lastFrame; }

  nearestFrame(step) {
    let best = this.lastFrame;
    for (const candidate of this.data.steps) if (Math.abs(candidate - step) < Math.abs(best - step)) best = candidate;
    return best;
  }

  key(event) {
    const moves = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -1e9, End: 1e9 };
    if (!(event.key in moves) || !this.data.steps.length) return;
    event.preventDefault();
    const index = this.data.steps.indexOf(this.step) + moves[event.key];
    this.goTo(this.data.steps[Math.max(0, Math.min(this.data.steps.length - 1, index))]);
  }

  goTo(step, playing = false) {
    if (step == null) return;
    if (!playing) this.stopPlaying();
    this.view = step;
    this.ask([step]);
    if (!playing) this.tell();
    this.draw();
  }

  followLive() {
    this.stopPlaying();
    this.view = null;
    this.tell();
    this.draw();
  }

  play(from = null) {
    const steps = this.data.steps;
    if (steps.length < 2) return;
    let index = from ?? steps.indexOf(this.step);
    if (index >= steps.length - 1) index = 0;
    const pace = Math.max(120, Math.min(700, (1000 * PLAY_SECONDS) / steps.length));
    this.playing = true;
    this.timer = setInterval(() => {
      const all = this.data.steps;
      this.ask(all.slice(index, index + ASK_AHEAD));
      if (!this.frames.has(all[index]) && Date.now() - (this.asked.get(all[index]) || 0) < ASK_AGAIN_MS) return;
      this.goTo(all[index], true);
      index += 1;
      if (index >= all.length) { this.stopPlaying(); this.view = null; this.draw(); }
    }, pace);
    this.draw();
  }

  stopPlaying(tell = false) {
    if (!this.timer) return;
    clearInterval(this.timer);
    this.timer = null;
    this.playing = false;
    if (tell) this.tell();
    if (this.data) this.draw();
  }

  // --- drawing ---

  draw() {
    if (!this.data) return;
    this.colours();
    this.headings();
    if (this.step != null) this.ask([this.step]);
    this.head();
    this.track();
    this.slow.draw();
    this.alarms();
    const version = [this.run, this.data.version, this.span, this.theme, this.playing, this.playing ? this.step : "", !this.plotly, this.view, ...this.drawnFor()].join("|");
    if (this.drawnCurves !== version) {
      this.drawnCurves = version;
      this.drawCurves();
    }
    this.drawSheets();
    this.root.dataset.step = this.step ?? "";
    this.root.dataset.elapsed = this.data.elapsed;
    this.root.dataset.state = this.data.state;
    this.root.dataset.version = this.data.version;
  }

  // What else the curves depend on, beside the run's rows, the theme and the step shown.
  drawnFor() { return []; }

  colours() {
    this.colour = themeOf(this.root);
    this.theme = this.colour.background;
    this.palette = this.colour.palette;
  }

  say(state, message) {
    const box = this.at("message");
    box.hidden = !message;
    box.dataset.state = state;
    box.textContent = message || "";
  }

  // A metric at the step shown.
  valueAt(name) {
    const curve = this.data.curves[name] || { x: [], y: [] };
    const index = curve.x.findLastIndex((x) => x <= (this.view ?? Infinity));
    return index < 0 ? null : curve.y[index];
  }

  // How the score reads, and what it is.
  scored(value) { return percent(value); }
  get measure() { return this.data.score === "accuracy" ? "student's accuracy" : "agreement with the teacher"; }

  head() {
    const d = this.data, value = this.valueAt(d.score), score = this.at("score");
    score.textContent = value == null ? "–" : this.scored(value);
    const small = document.createElement("small");
    small.append(value == null ? "nothing measured yet" : this.measure + (this.view == null ? "" : " at step " + this.view));
    if (d.teacher != null) {
      const teacher = document.createElement("b");
      teacher.textContent = "teacher " + this.scored(d.teacher);
      small.append(", ", teacher);
    }
    score.append(small);
    const corner = this.at("what");
    const pill = document.createElement("span");
    pill.className = "dfkd-state";
    pill.dataset.state = d.state;
    pill.textContent = d.badge;
    const line = document.createElement("div");
    line.textContent = d.title;
    corner.replaceChildren(pill, line);
    this.say(d.state, d.message);
  }

  track() {
    const d = this.data, slider = this.at("slide").querySelector("input");
    const live = d.state === "running" || d.state === "paused";
    slider.max = Math.max(1, d.total);
    slider.value = this.step ?? 0;
    slider.disabled = !d.steps.length;
    slider.setAttribute("aria-valuetext", "step " + (this.step ?? 0) + " of " + d.total);
    this.at("fill").style.width = Math.min(100, (100 * d.step) / Math.max(1, d.total)) + "%";
    const parts = ["step " + (this.view ?? d.step) + " / " + d.total];
    if (d.state === "running" && d.left != null && this.view == null) parts.push(duration(d.left) + " left");
    else if (this.view == null) parts.push(duration(d.elapsed));
    this.entries();
    this.at("where").textContent = d.total > 1 ? parts.join(" · ") : "not started";
    const follow = this.at("follow");
    follow.textContent = live ? "Follow live" : "To the end";
    follow.setAttribute("aria-pressed", String(this.view == null));
    const slowly = this.at("slowly");
    slowly.setAttribute("aria-pressed", String(this.slow.on));
    slowly.disabled = !this.data.phases.length || !(this.data.slow_steps.length || live);
    this.at("play").textContent = this.timer ? "❚❚" : "▶";
    this.at("play").setAttribute("aria-label", this.timer ? "Stop playing" : "Play the run");
  }

  // Where the run enters its later stages.
  get laterStages() { return this.data.stages.filter((stage) => stage.step > 1); }

  stageAt(step) { return this.data.stages.findLast((stage) => stage.step <= step); }

  entries() {
    const d = this.data, key = JSON.stringify([this.laterStages, d.total]);
    if (this.drawnEntries === key) return;
    this.drawnEntries = key;
    this.at("entries").replaceChildren(...this.laterStages.map((stage) => {
      const mark = element("span", { title: stage.title + ", from step " + stage.step }, stage.name);
      mark.style.left = (100 * (stage.step - 1)) / Math.max(1, d.total) + "%";
      return mark;
    }));
  }

  alarms() {
    const key = JSON.stringify(this.data.alarms);
    if (key === this.drawnAlarms) return;
    this.drawnAlarms = key;
    this.at("alarms").replaceChildren(...this.data.alarms.map((alarm) => {
      const box = document.createElement("div");
      box.className = "dfkd-alarm";
      box.dataset.kind = alarm.kind;
      box.append(alarm.text + " Knobs that bear on it:");
      alarm.knobs.forEach((knob) => { const code = document.createElement("code"); code.append(this.term(knob)); box.append(code); });
      return box;
    }));
  }

  layout(extra = {}) {
    const axis = { gridcolor: this.colour.line, zeroline: false, linecolor: this.colour.line, automargin: false };
    const { xaxis = {}, yaxis = {}, ...rest } = extra;
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", uirevision: this.run, hovermode: "x unified",
      font: { color: this.colour.text, size: this.root.clientWidth > 1350 ? 14 : 12 }, margin: { l: 46, r: 8, t: 6, b: 40 },
      showlegend: false,
      hoverlabel: { bgcolor: getComputedStyle(this.root).getPropertyValue("--st-background-color"), font: { color: this.colour.text } },
      xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...rest,
    };
  }

  plot(name, traces, layout, description) {
    if (!this.plotly) return; // five megabytes of script, still on their way: everything else is shown already
    const node = this.at(name).querySelector(".dfkd-plot");
    node.setAttribute("aria-label", description);
    this.plotly.react(node, traces, layout, { displaylogo: false, responsive: true, displayModeBar: false });
    const height = node.clientHeight; // none out of sight, where plotly refuses to fit a chart
    if (height && Math.abs(height - node._fullLayout.height) > 1) this.plotly.Plots.resize(node); // a heading has wrapped
  }

  // Headings and legends lead to the glossary, which knows them by the names that stand here.
  term(name) {
    const link = document.createElement("a");
    link.href = this.data.base + "/glossary?term=" + encodeURIComponent(name.toLowerCase().replace(/[ _]/g, "-"));
    link.target = "_blank";
    link.rel = "noopener";
    link.textContent = name;
    return link;
  }

  headings() {
    this.root.querySelectorAll("h4").forEach((heading) => {
      if (heading.firstChild.nodeType === Node.TEXT_NODE) heading.firstChild.replaceWith(this.term(heading.firstChild.textContent));
    });
  }

  // Legends stand in the headings: plotly's own would take a third of a small panel.
  legend(name, entries, note = "") {
    const box = this.at(name).querySelector("h4 span"), key = JSON.stringify([entries, note]);
    if (box.dataset.key === key) return;
    box.dataset.key = key;
    box.replaceChildren(...entries.map(([label, colour, style]) => {
      const entry = document.createElement("i"), swatch = document.createElement("s");
      swatch.className = style || "line";
      swatch.style.color = colour;
      entry.append(swatch, this.term(label));
      return entry;
    }), note);
  }

  // Draws `name` unless nothing of what it depends on has changed.
  once(name, on, act) {
    const key = [this.run, this.theme, this.colour.text, !this.plotly, ...on].join("|");
    if (this.drawn[name] === key) return;
    this.drawn[name] = key;
    act();
  }

  cut(curve) {
    if (!this.playing || !curve) return curve || { x: [], y: [] };
    const count = curve.x.filter((x) => x <= this.step).length;
    return { x: curve.x.slice(0, count), y: curve.y.slice(0, count) };
  }

  // Where the axis of steps ends: with the run, or where it was left.
  get span() {
    const left = ["stopped", "failed", "interrupted"].includes(this.data.state);
    return Math.max(1, left ? this.data.step : this.data.total);
  }

  steps() {
    return { title: { text: "training step", standoff: 2, font: { size: 12 } }, range: [0, this.span] };
  }

  marks() {
    const shapes = this.data.marks.map((mark) => ({
      type: "line", x0: mark.step, x1: mark.step, y0: 0, y1: 1, yref: "paper",
      line: mark.command === "set" ? { color: this.colour.teacher, width: 1.5, dash: "dash" } : { color: this.colour.line, width: 1, dash: "dot" },
    }));
    this.laterStages.forEach((stage) => shapes.push({ type: "line", x0: stage.step - 0.5, x1: stage.step - 0.5, y0: 0, y1: 1, yref: "paper", line: { color: this.colour.muted, width: 1.5, dash: "dashdot" } }));
    if (this.view != null && !this.playing) shapes.push({ type: "line", x0: this.view, x1: this.view, y0: 0, y1: 1, yref: "paper", line: { color: this.colour.text, width: 1.5 } });
    return shapes;
  }

  picture(sheet, width, height, x, y, kind, spoken) {
    const canvas = element("canvas", { width, height, className: kind, title: spoken, role: "img", "aria-label": spoken });
    canvas.getContext("2d").drawImage(sheet, -x, -y);
    return canvas;
  }

  // What was changed while the run went on, written beside its mark; later ones lower, so that none covers another.
  changes() {
    return this.data.marks.filter((mark) => mark.command === "set").map((mark, index) => ({
      text: mark.text.replace(", ", "<br>"), x: mark.step, y: 0.02 + 0.09 * (index % 5), xref: "x", yref: "paper", yanchor: "bottom",
      xanchor: mark.step > 0.6 * this.span ? "right" : "left", showarrow: false, font: { color: this.colour.teacher, size: 11 }, align: "left",
    }));
  }

  // The student stands still until its stage begins, unless it is evaluated there.
  still(curve) {
    const begins = this.data.stages.find((stage) => stage.name === "student")?.step ?? 1;
    const at = curve.x.findIndex((x) => x >= begins);
    if (begins === 1 || at < 1 || curve.x[at - 1] > 0) return curve;
    return { x: curve.x.toSpliced(at, 0, begins - 1), y: curve.y.toSpliced(at, 0, curve.y[at - 1]) };
  }

  accuracy() {
    const d = this.data, main = this.still(this.cut(d.curves[d.score]));
    const legend = [["student", this.colour.student, "thick"]];
    if (d.teacher != null) legend.push(["teacher", this.colour.teacher, "dash"]);
    if (d.score === "accuracy") legend.push(["agreement", this.colour.student, "dot"]);
    this.legend("accuracy", legend);
    const traces = [];
    if (d.score === "accuracy") {
      traces.push({ ...this.still(this.cut(d.curves.agreement)), name: "agreement with the teacher", line: { color: this.colour.student, width: 1.2, dash: "dot" }, mode: "lines", hovertemplate: "%{y:.1%}" });
    }
    if (d.teacher != null) traces.push({ x: [0, d.total], y: [d.teacher, d.teacher], name: "teacher", mode: "lines", line: { color: this.colour.teacher, width: 2, dash: "dash" }, hovertemplate: "%{y:.1%}" });
    traces.push({ ...main, name: "student", mode: "lines+markers", line: { color: this.colour.student, width: 3 }, marker: { size: 5 }, hovertemplate: "%{y:.1%}" });
    const last = main.y.length ? percent(main.y[main.y.length - 1]) : "nothing yet";
    this.plot("accuracy", traces, this.layout({ shapes: this.marks(), annotations: this.changes(), xaxis: this.steps(), yaxis: { range: [0, 1.02], tickformat: ".0%" } }), "Student's accuracy over training steps, now " + last);
  }
}
