// The stage of Distill: everything of a run that moves. See player.js.

const SKELETON = `
  <div class="dfkd-grid">
    <section class="dfkd-panel dfkd-accuracy"><h4>Student against teacher<span></span></h4><div class="dfkd-plot" role="img"></div></section>
    <section class="dfkd-panel dfkd-samples"><h4>Synthetic images<span></span></h4><div class="dfkd-tiles"></div></section>
    <section class="dfkd-panel dfkd-judged"><h4>Judged losses<span></span></h4><div class="dfkd-plot" role="img"></div></section>
    <section class="dfkd-panel dfkd-course"><h4>Course<span></span></h4><div class="dfkd-plot" role="img"></div></section>
    <section class="dfkd-panel dfkd-classes"><h4>Classes generated<span></span></h4><div class="dfkd-plot" role="img"></div></section>
    <section class="dfkd-panel dfkd-losses"><h4>Losses by term<span></span></h4><div class="dfkd-plot" role="img"></div></section>
    <section class="dfkd-panel dfkd-shares"><h4>Term health<span></span></h4><div class="dfkd-plot" role="img"></div></section>
  </div>`;

class Stage extends Player {
  constructor(root) {
    super(root, SKELETON);
  }

  forget() {
    this.shown = null;
  }

  arrived() {
    this.spotlight();
  }

  alsoTold() { return { stop: this.stop ?? null }; }

  // The guided tour frames one panel, and moves the scrubber once a stop; then the visitor is free to. Whether it has
  // been moved is remembered by Python: Streamlit may mount this component anew at any time.
  spotlight() {
    const { stop = null, panel, step, go } = this.data.spot || {};
    if (stop === this.stop) return;
    this.stop = stop;
    this.root.querySelector(".spot")?.classList.remove("spot");
    if (stop == null) return;
    this.at(panel).classList.add("spot");
    this.at(panel).scrollIntoView({ behavior: "smooth", block: "end" }); // the buttons above it stay in sight if they can
    if (!go) return;
    if (step == null) this.followLive();
    else this.goTo(step);
  }

  // --- drawing ---

  drawCurves() {
    this.accuracy();
    this.course();
    this.losses();
    this.shares();
  }

  drawSheets() {
    const seen = this.frames.get(this.step) || this.frames.get(this.shown);
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
  }

  course() {
    const d = this.data;
    const known = [["kept", "kept", this.colour.clean], ["coverage", "classes", this.palette[0]], ["diversity", "diversity", this.palette[3]]];
    const lines = known.filter(([name]) => name !== "kept" || d.curves[name] || d.selection);
    this.legend("course", lines.map(([, label, color]) => [label, color]));
    const traces = lines.filter(([name]) => d.curves[name]).map(([name, label, color]) => ({ ...this.cut(d.curves[name]), name: label, mode: "lines", line: { color, width: 2 }, hovertemplate: "%{y:.0%}" }));
    this.plot("course", traces, this.layout({ shapes: this.marks(), xaxis: this.steps(), yaxis: { range: [0, 1.02], tickformat: ".0%" } }), "Share of samples kept, classes covered and diversity over training steps");
  }

  losses() {
    const names = this.data.terms.filter((name) => this.data.curves[name]);
    const layout = this.layout({ shapes: this.marks(), xaxis: this.steps(), margin: { l: 58, r: 10, t: 6, b: 40 } });
    const height = names.length > 8 ? 36 * names.length + 60 + "px" : ""; // each needs room for its ticks
    for (const panel of ["losses", "shares"]) this.at(panel).style.height = height;
    const gap = 0.06 / Math.max(1, names.length / 6), share = (1 - gap * (names.length - 1)) / Math.max(1, names.length);
    layout.annotations = [];
    const traces = names.map((name, index) => {
      const key = index ? "yaxis" + (index + 1) : "yaxis", top = 1 - index * (share + gap);
      layout[key] = { ...layout.yaxis, domain: [Math.max(0, top - share), top], nticks: 3, range: undefined };
      layout.annotations.push({ text: title(name), x: 0.995, y: top, xref: "paper", yref: "paper", xanchor: "right", yanchor: "top", showarrow: false, font: { color: this.palette[index % 8] } });
      return { ...this.cut(this.data.curves[name]), name: title(name), yaxis: index ? "y" + (index + 1) : "y", mode: "lines", line: { color: this.palette[index % 8], width: 1.6 }, hovertemplate: "%{y:.4g}" };
    });
    layout.xaxis.anchor = names.length > 1 ? "y" + names.length : "y";
    this.legend("losses", [], "as weighted in the sum");
    this.plot("losses", traces, layout, "Loss terms over training steps: " + names.map(title).join(", "));
  }

  shares() {
    const measured = this.data.terms.filter((name) => this.data.curves["share/" + name]);
    const order = measured.filter((name) => !OF_DISCRIMINATOR.includes(name)); // the two networks' shares do not add up
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
      const groups = this.groups(frame).map(([name, members, note]) => {
        const heading = document.createElement("h5");
        heading.className = name;
        heading.append(this.term(name), " " + members.length + " / " + frame.clean.length + note);
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

  // The sheet's images by what became of them: name, indices, note.
  groups(frame) {
    const split = (column, pairs) => pairs.map(([name, flag]) => [name, frame[column].flatMap((value, index) => (value === flag ? [index] : []))]);
    if (frame.collected) return split("collected", [["collected", 1], ["synthetic", 0]]).map((group) => [...group, ""]);
    if (!frame.mixture && !this.data.selection && !frame.clean.includes(0)) return [["synthetic", frame.clean.map((_, index) => index), ": " + this.taken(frame)]];
    return split("clean", [["clean", 1], ["rejected", 0]]).map((group) => [...group, this.data.selection ? "" : " (not applied)"]);
  }

  taken(frame) {
    const stage = this.stageAt(frame.step);
    return stage && stage.name !== "student" ? "the student does not learn yet" : "every sample is learned from";
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
    const legend = frame.mixture || frame.clean.includes(0) ? [["clean", this.colour.clean, "box"], ["rejected", this.colour.rejected, "box"]] : [];
    if (mixture.usable) legend.push(["mixture", this.colour.text], ["accepted", this.colour.clean, "faint"]);
    this.legend("judged", legend, mixture.usable ? "" : frame.mixture ? "all losses equal: all kept" : this.taken(frame));
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
