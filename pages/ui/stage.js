// The stage: everything of a run that moves. Fed by Python with rows since the last look; scrubbing, playing and
// zooming happen here, without a rerun of the page. Frames (recorded sheets of samples) are asked for when needed.

const TITLES = {
  student_loss: "student loss", adversarial: "adversarial", bn_statistics: "BN statistics", l2: "image norm",
  tv: "total variation", class_prior: "class prior", class_balance: "class balance", activation: "activation",
};
const PLAY_SECONDS = 20, ASK_AHEAD = 12, ASK_AGAIN_MS = 2500;
const title = (name) => TITLES[name] || name.replaceAll("_", " ");
const SKELETON = `
  <div class="dfkd-head"><div class="dfkd-score"></div><div class="dfkd-what"></div></div>
  <div class="dfkd-message" role="status" hidden></div>
  <div class="dfkd-track">
    <button class="dfkd-play" title="Play the run from here">▶</button>
    <div class="dfkd-slide"><div class="dfkd-bar"><div class="dfkd-fill"></div></div>
      <input type="range" min="0" step="1" aria-label="Training step shown"></div>
    <div class="dfkd-where"></div>
    <button class="dfkd-follow" title="Always show the newest step">Follow live</button>
    <button class="dfkd-slowly" title="One step, phase by phase, with its tensors">Slow motion</button>
  </div>
  <section class="dfkd-slow" hidden aria-label="Slow motion"></section>
  <div class="dfkd-alarms" role="alert"></div>
  <div class="dfkd-grid">
    <section class="dfkd-panel dfkd-accuracy"><h4>Student against teacher<span></span></h4><div class="dfkd-plot" role="img"></div></section>
    <section class="dfkd-panel dfkd-samples"><h4>Synthetic images<span></span></h4><div class="dfkd-tiles"></div></section>
    <section class="dfkd-panel dfkd-judged"><h4>Judged losses<span></span></h4><div class="dfkd-plot" role="img"></div></section>
    <section class="dfkd-panel dfkd-course"><h4>Course<span></span></h4><div class="dfkd-plot" role="img"></div></section>
    <section class="dfkd-panel dfkd-classes"><h4>Classes generated<span></span></h4><div class="dfkd-plot" role="img"></div></section>
    <section class="dfkd-panel dfkd-losses"><h4>Losses by term<span></span></h4><div class="dfkd-plot" role="img"></div></section>
    <section class="dfkd-panel dfkd-shares"><h4>Term health<span></span></h4><div class="dfkd-plot" role="img"></div></section>
  </div>`;

class Stage {
  constructor(root) {
    this.root = document.createElement("div");
    this.root.className = "dfkd-stage";
    this.root.innerHTML = SKELETON;
    root.appendChild(this.root);
    this.at = (name) => this.root.querySelector(".dfkd-" + name);
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
      this.view = data.view ?? null;
      this.shown = null;
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
    this.spotlight();
    this.draw();
    if (!this.plotly) loadPlotly(data.base).then((plotly) => { this.plotly = plotly; this.draw(); }, (error) => this.say("failed", error.message));
  }

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

  // The guided tour frames one panel. It moves the scrubber once a stop, then the visitor is free to; who comes in
  // by an address that names a step stays there.
  spotlight() {
    const { stop = null, panel, step } = this.data.spot || {};
    if (stop === this.stop) return;
    const here = this.stop === undefined && this.data.view != null;
    this.stop = stop;
    this.root.querySelector(".spot")?.classList.remove("spot");
    if (stop == null) return;
    this.at(panel).classList.add("spot");
    this.at(panel).scrollIntoView({ behavior: "smooth", block: "end" }); // the buttons above it stay in sight if they can
    if (here) return;
    if (step == null) this.followLive();
    else this.goTo(step);
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
    const step = this.step, frame = this.frames.get(step);
    if (step != null && !frame) this.ask([step]);
    this.head();
    this.track();
    this.slow.draw();
    this.alarms();
    const version = [this.run, this.data.version, this.theme, this.playing, this.playing ? step : "", !this.plotly].join("|");
    if (this.drawnCurves !== version + "|" + this.view) {
      this.drawnCurves = version + "|" + this.view;
      this.accuracy();
      this.course();
      this.losses();
      this.shares();
    }
    const seen = frame || this.frames.get(this.shown);
    const sheet = [this.run, seen?.step, this.theme, !this.plotly].join("|");
    if (seen && this.drawnSheet !== sheet) {
      this.drawnSheet = sheet;
      this.shown = seen.step;
      this.tiles(seen);
      this.judged(seen);
      this.classes(seen);
    } else if (!seen) {
      this.drawnSheet = null;
      this.noSamples();
    }
    this.root.dataset.step = step ?? "";
    this.root.dataset.elapsed = this.data.elapsed;
    this.root.dataset.state = this.data.state;
    this.root.dataset.version = this.data.version;
  }

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

  head() {
    const d = this.data, curve = d.curves[d.score], until = this.view ?? Infinity;
    let value = null;
    if (curve) curve.x.forEach((x, i) => { if (x <= until) value = curve.y[i]; });
    const score = this.at("score");
    score.textContent = value == null ? "–" : percent(value);
    const small = document.createElement("small");
    const what = d.score === "accuracy" ? "student's accuracy" : "agreement with the teacher";
    small.append(value == null ? "nothing measured yet" : what + (this.view == null ? "" : " at step " + this.view));
    if (d.teacher != null) {
      const teacher = document.createElement("b");
      teacher.textContent = "teacher " + percent(d.teacher);
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

  cut(curve) {
    if (!this.playing || !curve) return curve || { x: [], y: [] };
    const count = curve.x.filter((x) => x <= this.step).length;
    return { x: curve.x.slice(0, count), y: curve.y.slice(0, count) };
  }

  steps() {
    return { title: { text: "training step", standoff: 2, font: { size: 12 } }, range: [0, Math.max(1, this.data.total)] };
  }

  marks() {
    const shapes = this.data.marks.map((mark) => ({
      type: "line", x0: mark.step, x1: mark.step, y0: 0, y1: 1, yref: "paper",
      line: mark.command === "set" ? { color: this.colour.teacher, width: 1.5, dash: "dash" } : { color: this.colour.line, width: 1, dash: "dot" },
    }));
    if (this.view != null && !this.playing) shapes.push({ type: "line", x0: this.view, x1: this.view, y0: 0, y1: 1, yref: "paper", line: { color: this.colour.text, width: 1.5 } });
    return shapes;
  }

  // What was changed while the run went on, written beside its mark; later ones lower, so that none covers another.
  changes() {
    return this.data.marks.filter((mark) => mark.command === "set").map((mark, index) => ({
      text: mark.text.replace(", ", "<br>"), x: mark.step, y: 0.02 + 0.09 * (index % 5), xref: "x", yref: "paper", yanchor: "bottom",
      xanchor: mark.step > 0.6 * this.data.total ? "right" : "left", showarrow: false, font: { color: this.colour.teacher, size: 11 }, align: "left",
    }));
  }

  accuracy() {
    const d = this.data, main = this.cut(d.curves[d.score]);
    const legend = [["student", this.colour.student, "thick"]];
    if (d.teacher != null) legend.push(["teacher", this.colour.teacher, "dash"]);
    if (d.score === "accuracy") legend.push(["agreement", this.colour.student, "dot"]);
    this.legend("accuracy", legend);
    const traces = [];
    if (d.score === "accuracy") {
      traces.push({ ...this.cut(d.curves.agreement), name: "agreement with the teacher", line: { color: this.colour.student, width: 1.2, dash: "dot" }, mode: "lines", hovertemplate: "%{y:.1%}" });
    }
    if (d.teacher != null) traces.push({ x: [0, d.total], y: [d.teacher, d.teacher], name: "teacher", mode: "lines", line: { color: this.colour.teacher, width: 2, dash: "dash" }, hovertemplate: "%{y:.1%}" });
    traces.push({ ...main, name: "student", mode: "lines+markers", line: { color: this.colour.student, width: 3 }, marker: { size: 5 }, hovertemplate: "%{y:.1%}" });
    const last = main.y.length ? percent(main.y[main.y.length - 1]) : "nothing yet";
    this.plot("accuracy", traces, this.layout({ shapes: this.marks(), annotations: this.changes(), xaxis: this.steps(), yaxis: { range: [0, 1.02], tickformat: ".0%" } }), "Student's accuracy over training steps, now " + last);
  }

  course() {
    const d = this.data;
    const lines = [["kept", "kept", this.colour.clean], ["coverage", "classes", this.palette[0]], ["diversity", "diversity", this.palette[3]]];
    this.legend("course", lines.map(([, label, color]) => [label, color]));
    const traces = lines.filter(([name]) => d.curves[name]).map(([name, label, color]) => ({ ...this.cut(d.curves[name]), name: label, mode: "lines", line: { color, width: 2 }, hovertemplate: "%{y:.0%}" }));
    this.plot("course", traces, this.layout({ shapes: this.marks(), xaxis: this.steps(), yaxis: { range: [0, 1.02], tickformat: ".0%" } }), "Share of samples kept, classes covered and diversity over training steps");
  }

  losses() {
    const names = this.data.terms.filter((name) => this.data.curves[name]);
    const layout = this.layout({ shapes: this.marks(), xaxis: this.steps(), margin: { l: 58, r: 10, t: 6, b: 40 } });
    const gap = 0.06, height = (1 - gap * (names.length - 1)) / Math.max(1, names.length);
    layout.annotations = [];
    const traces = names.map((name, index) => {
      const key = index ? "yaxis" + (index + 1) : "yaxis", top = 1 - index * (height + gap);
      layout[key] = { ...layout.yaxis, domain: [Math.max(0, top - height), top], nticks: 3, range: undefined };
      layout.annotations.push({ text: title(name), x: 0.995, y: top, xref: "paper", yref: "paper", xanchor: "right", yanchor: "top", showarrow: false, font: { color: this.palette[index % 8] } });
      return { ...this.cut(this.data.curves[name]), name: title(name), yaxis: index ? "y" + (index + 1) : "y", mode: "lines", line: { color: this.palette[index % 8], width: 1.6 }, hovertemplate: "%{y:.4g}" };
    });
    layout.xaxis.anchor = names.length > 1 ? "y" + names.length : "y";
    this.legend("losses", [], "as weighted in the sum");
    this.plot("losses", traces, layout, "Loss terms over training steps: " + names.map(title).join(", "));
  }

  shares() {
    const order = this.data.terms.filter((name) => this.data.curves["share/" + name]);
    const traces = order.map((name) => ({ ...this.cut(this.data.curves["share/" + name]), name: title(name), mode: "lines", stackgroup: "one", line: { width: 0.5, color: this.palette[this.data.terms.indexOf(name) % 8] }, hovertemplate: "%{y:.1%}" }));
    this.legend("shares", order.map((name) => [title(name), this.palette[this.data.terms.indexOf(name) % 8], "box"]), "of the generator's gradient");
    this.plot("shares", traces, this.layout({ xaxis: this.steps(), yaxis: { range: [0, 1], tickformat: ".0%" } }), "Share of the generator's gradient by term over training steps");
  }

  noSamples() {
    const box = this.at("tiles");
    if (this.emptyFor === this.run && box.firstChild?.className === "dfkd-empty") return;
    this.emptyFor = this.run;
    const text = document.createElement("div");
    text.className = "dfkd-empty";
    text.textContent = this.data.steps.length ? "Loading the images of this step…" : "The first images appear after the first step.";
    box.replaceChildren(text);
    this.at("samples").querySelector("span").textContent = "";
    for (const name of ["judged", "classes"]) this.plot(name, [], this.layout({ xaxis: { visible: false }, yaxis: { visible: false } }), "Nothing recorded yet");
  }

  tiles(frame) {
    this.at("samples").querySelector("h4 span").textContent = "at step " + frame.step;
    const sheet = new Image();
    sheet.onload = () => {
      if (this.shown !== frame.step) return;
      const groups = [["clean", 1], ["rejected", 0]].map(([name, flag]) => {
        const members = frame.clean.map((value, index) => [value, index]).filter(([value]) => value === flag).map(([, index]) => index);
        const heading = document.createElement("h5");
        heading.className = name;
        heading.append(this.term(name), " " + members.length + " / " + frame.clean.length + (this.data.selection ? "" : " (not applied)"));
        const box = document.createElement("div");
        box.className = "dfkd-sheet " + name;
        box.tabIndex = 0;
        box.setAttribute("aria-label", name + " images");
        box.append(...members.map((index) => this.tile(frame, sheet, index, name)));
        return [heading, box];
      });
      const tiles = this.at("tiles"), scrolled = [...tiles.querySelectorAll(".dfkd-sheet")].map((box) => box.scrollTop);
      tiles.replaceChildren(...groups.flat());
      tiles.querySelectorAll(".dfkd-sheet").forEach((box, index) => { box.scrollTop = scrolled[index] || 0; });
    };
    sheet.src = "data:image/png;base64," + frame.sheet;
  }

  tile(frame, sheet, index, verdict) {
    const tile = document.createElement("div"), canvas = document.createElement("canvas"), label = document.createElement("b");
    const name = this.data.classes[frame.label[index]] ?? String(frame.label[index]);
    tile.className = "dfkd-tile";
    canvas.width = frame.width;
    canvas.height = frame.height;
    const columns = sheet.width / frame.width;
    canvas.getContext("2d").drawImage(sheet, -(index % columns) * frame.width, -Math.floor(index / columns) * frame.height);
    canvas.setAttribute("role", "img");
    const spoken = verdict + ", the teacher says " + name + " with " + percent(frame.confidence[index], 0) + ", loss " + frame.loss[index].toFixed(3);
    canvas.setAttribute("aria-label", spoken);
    tile.title = spoken;
    label.textContent = name;
    tile.append(canvas, label, " " + Math.round(100 * frame.confidence[index]) + "%");
    return tile;
  }

  judged(frame) {
    const largest = Math.max(...frame.loss), bins = 40, count = frame.loss.length;
    const mixture = frame.mixture || { low: 0, high: largest, usable: false };
    const span = mixture.high - mixture.low || 1;
    const scaled = frame.loss.map((loss) => Math.min(1, Math.max(0, (loss - mixture.low) / span)));
    const centres = Array.from({ length: bins }, (_, i) => (i + 0.5) / bins);
    const bars = (flag) => {
      const heights = new Array(bins).fill(0);
      scaled.forEach((value, i) => { if (frame.clean[i] === flag) heights[Math.min(bins - 1, Math.floor(value * bins))] += 1; });
      return heights;
    };
    const traces = [["clean", 1], ["rejected", 0]].map(([name, flag]) => ({ type: "bar", x: centres, y: bars(flag), name, width: 1 / bins, marker: { color: this.colour[name], opacity: 0.75 }, hovertemplate: "%{y}" }));
    const shapes = [];
    if (mixture.usable) {
      const fine = Array.from({ length: 200 }, (_, i) => i / 199);
      ["low component", "high component"].forEach((name, k) => traces.push({
        x: fine, name, mode: "lines", hoverinfo: "skip", line: { color: this.colour.text, width: 1.6, dash: k ? "dot" : "solid" },
        y: fine.map((v) => (mixture.weights[k] * count) / bins / (mixture.deviations[k] * Math.sqrt(2 * Math.PI)) * Math.exp(-0.5 * ((v - mixture.means[k]) / mixture.deviations[k]) ** 2)),
      }));
      mixture.region.forEach(([from, to]) => shapes.push({ type: "rect", x0: from, x1: to, y0: 0, y1: 1, yref: "paper", fillcolor: this.colour.clean, opacity: 0.13, line: { width: 0 }, layer: "below" }));
    }
    const legend = [["clean", this.colour.clean, "box"], ["rejected", this.colour.rejected, "box"], ];
    if (mixture.usable) legend.push(["mixture", this.colour.text], ["accepted", this.colour.clean, "faint"]);
    this.legend("judged", legend, mixture.usable ? "" : frame.mixture ? "all losses equal: all kept" : "no selection");
    const tallest = Math.max(1, ...centres.map((_, i) => traces[0].y[i] + traces[1].y[i]));
    const layout = this.layout({ barmode: "stack", shapes, hovermode: "closest",
      xaxis: { range: [0, 1], title: { text: "judged loss, scaled: 1 is " + mixture.high.toPrecision(2) + " nats" + (mixture.usable ? ", τ " + mixture.threshold : ""), standoff: 2, font: { size: 12 } } }, yaxis: { title: { text: "samples", standoff: 2, font: { size: 12 } }, range: [0, 1.15 * tallest] } });
    layout.uirevision = this.run + frame.step;
    this.plot("judged", traces, layout, "Histogram of judged losses, " + frame.clean.filter(Boolean).length + " clean of " + count);
  }

  classes(frame) {
    const names = this.data.classes, count = (flag) => {
      const heights = new Array(names.length).fill(0);
      frame.label.forEach((label, i) => { if (frame.clean[i] === flag) heights[label] += 1; });
      return heights;
    };
    const traces = [["clean", 1], ["rejected", 0]].map(([name, flag]) => ({ type: "bar", x: names, y: count(flag), name, marker: { color: this.colour[name], opacity: 0.8 }, hovertemplate: "%{y}" }));
    const layout = this.layout({ barmode: "stack", margin: { l: 30, r: 6, t: 6, b: names.length > 10 ? 70 : 40 }, xaxis: { type: "category", title: { text: "the teacher's class", standoff: 2, font: { size: 12 } } } });
    layout.uirevision = this.run + frame.step;
    this.plot("classes", traces, layout, "Samples by the teacher's class at step " + frame.step);
  }
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const host = parentElement.querySelector(".dfkd-host") || parentElement;
  if (!host.dfkdStage) host.dfkdStage = new Stage(host);
  host.dfkdStage.update(data, setStateValue);
}
