// What the experiments' components share: the head with one square a run, charts with a band over seeds.

const GLYPHS = { done: "✓", failed: "!", measuring: "…", paused: "❚❚" };
const WORDS = { waiting: "waiting", queued: "waiting for the device", interrupted: "interrupted" };

const HEAD = `
  <div class="exp-head">
    <div class="exp-what"><div class="exp-title"></div><div class="exp-reading"></div></div>
    <div class="exp-how"><div class="exp-cells" role="group" aria-label="Runs"></div>
      <div class="exp-where"><span class="exp-state"></span> <span class="exp-count"></span>
        <div class="exp-bar" role="progressbar" aria-valuemin="0" aria-valuemax="100"><div></div></div></div></div>
  </div>
  <div class="exp-message" role="status" hidden></div>
  <ul class="exp-problems" role="alert" hidden></ul>`;

class Experiment {
  constructor(host, name, skeleton) {
    this.root = element("div", { className: "dfkd-experiment dfkd-" + name });
    this.root.innerHTML = HEAD + skeleton;
    host.appendChild(this.root);
    this.at = (selector) => this.root.querySelector(selector);
    this.nonce = 0;
  }

  update(data, setStateValue) {
    this.setStateValue = setStateValue;
    const other = !this.data || this.data.study !== data.study;
    this.data = data;
    if (other) this.begin();
    this.theme = themeOf(this.root);
    this.head();
    this.draw();
    Object.assign(this.root.dataset, { study: data.study, state: data.state, done: data.done, failed: data.failed, total: data.total });
    if (!this.plotly) {
      loadPlotly(data.base).then(
        (plotly) => { this.plotly = plotly; this.update(this.data, this.setStateValue); },
        (error) => this.say(error.message),
      );
    }
  }

  // --- the head ---

  say(message) {
    const box = this.at(".exp-message");
    box.hidden = !message;
    box.textContent = message;
  }

  head() {
    const d = this.data;
    this.at(".exp-title").textContent = d.title;
    this.at(".exp-reading").textContent = d.reading || "";
    const state = this.at(".exp-state");
    state.textContent = d.badge;
    state.dataset.state = d.state;
    const count = [d.done + " / " + d.total + " runs"];
    if (d.failed) count.push(d.failed + " failed");
    if (d.left != null) count.push("about " + roughly(d.left) + " left");
    this.at(".exp-count").textContent = count.join(" · ");
    this.at(".exp-bar div").style.width = 100 * d.share + "%";
    this.at(".exp-bar").setAttribute("aria-valuenow", Math.round(100 * d.share));
    this.at(".exp-bar").hidden = d.state === "done";
    this.say(d.message);
    this.squares();
    this.problems();
  }

  squares() {
    const key = JSON.stringify(this.data.cells);
    if (key === this.drawnSquares) return;
    this.drawnSquares = key;
    const box = this.at(".exp-cells"), rows = this.rows();
    const focused = box.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const widest = Math.max(...rows.map((row) => row.length));
    const filled = (row) => Array.from({ length: widest }, (_, index) => (row[index] ? this.square(row[index]) : element("span")));
    box.style.gridTemplateColumns = `repeat(${widest}, auto)`;
    box.replaceChildren(...rows.flatMap(filled));
    if (focused) box.querySelector(`[data-key="${focused}"]`)?.focus();
  }

  square(cell) {
    const words = this.nameOf(cell) + ": " + (WORDS[cell.state] || cell.state) + (cell.message ? ". " + cell.message : "");
    const made = element(cell.run ? "a" : "span", {
      className: "exp-cell", title: words, "aria-label": words, dataset: { state: cell.state, key: cell.key },
    }, GLYPHS[cell.state] || "");
    made.style.setProperty("--share", cell.share);
    if (cell.run) Object.assign(made, { href: this.distill(cell.run), target: "_blank", rel: "noopener" });
    return made;
  }

  distill(run) { return this.data.base + "/?run=" + encodeURIComponent(run); }
  inspect(run) { return this.data.base + "/inspect?run=" + encodeURIComponent(run); }

  problems() {
    const failed = this.data.cells.filter((cell) => cell.state === "failed"), box = this.at(".exp-problems");
    box.hidden = !failed.length;
    const key = JSON.stringify(failed);
    if (box.dataset.key === key) return;
    box.dataset.key = key;
    box.replaceChildren(...failed.map((cell) => element("li", {}, element("b", {}, this.nameOf(cell) + " failed. "), cell.message)));
  }

  // --- charts ---

  layout(extra = {}) {
    const axis = { gridcolor: this.theme.line, zeroline: false, linecolor: this.theme.line, fixedrange: true };
    const { xaxis = {}, yaxis = {}, ...rest } = extra;
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest", hoverdistance: 60,
      font: { color: this.theme.text, size: this.root.clientWidth > 1350 ? 14 : 12 }, margin: { l: 44, r: 8, t: 8, b: 36 },
      hoverlabel: { bgcolor: this.theme.background, font: { color: this.theme.text } }, uirevision: this.data.study,
      xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...rest,
    };
  }

  plot(node, traces, layout, description) {
    if (!this.plotly) return null; // five megabytes of script, still on their way: everything else is shown already
    node.setAttribute("aria-label", description);
    return this.plotly.react(node, traces, layout, { displaylogo: false, responsive: true, displayModeBar: false });
  }
}

// Seconds in words, no finer than the guess that they are.
function roughly(seconds) {
  if (seconds < 90) return Math.max(10, 10 * Math.round(seconds / 10)) + " s";
  return seconds < 5400 ? Math.round(seconds / 60) + " min" : (seconds / 3600).toFixed(1) + " h";
}

// "#0072b2" and 0.2 -> "rgba(0,114,178,0.2)"
function faint(colour, share) {
  return `rgba(${channels(colour).join(",")},${share})`;
}

function mount(component, make) {
  const { data, parentElement, setStateValue } = component;
  const host = parentElement.querySelector(".dfkd-host") || parentElement;
  if (!host.dfkdExperiment) host.dfkdExperiment = make(host);
  host.dfkdExperiment.update(data, setStateValue);
}
