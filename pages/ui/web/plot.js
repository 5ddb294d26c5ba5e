// Charts by plotly, drawn so that a zoom stays where the user put it.

const CLEAR = "rgba(0,0,0,0)";
const CONFIG = {  // a chart under the pointer can be had as an image
  displaylogo: false, responsive: true, displayModeBar: "hover", modeBarButtons: [["toImage"]],
};

// Loaded once a page, from this server.
function loadPlotly(base) {
  window.dfkdPlotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = base + "/app/static/plotly-basic.min.js";
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("plotly-basic.min.js could not be read"));
    document.head.appendChild(script);
  });
  return window.dfkdPlotly;
}

export class Plots {
  // `came` is called when charts can be drawn, `failed` with a sentence when they never will.
  constructor(came, failed) {
    Object.assign(this, { came, failed, plotly: null, waiting: new Map(), near: new Set() });
  }

  load(base) {
    if (this.loading) return;
    this.loading = loadPlotly(base).then(
      (plotly) => { this.plotly = plotly; this.came(); }, (error) => this.failed(error.message),
    );
  }

  // Promises the drawn chart; null while a megabyte of script is still on their way: all else is shown already.
  draw(node, traces, layout, description) {
    node.setAttribute("aria-label", description);
    if (!this.plotly) return null;
    const drawn = this.plotly.react(node, traces, layout, CONFIG);
    const height = node.clientHeight; // none out of sight, where plotly refuses to fit a chart
    const fitted = node._fullLayout?.height;
    if (height && fitted && Math.abs(height - fitted) > 1) this.plotly.Plots.resize(node); // a heading has wrapped
    return drawn;
  }

  // Draws it when it comes near to where the page is scrolled, in a moment of its own: what a page is about stands
  // before its ten charts do, and those that nobody sees cost nothing while a run is played.
  later(node, traces, layout, description) {
    node.setAttribute("aria-label", description);
    if (!this.plotly) return;
    this.waiting.set(node, [traces, layout, description]);
    this.sight ??= new IntersectionObserver((seen) => this.look(seen), {
      root: node.closest("[data-testid=stMain]"), rootMargin: "50% 0px",
    });
    this.sight.observe(node);
    this.drawNext();
  }

  look(seen) {
    for (const { target, isIntersecting } of seen) this.near[isIntersecting ? "add" : "delete"](target);
    this.drawNext();
  }

  drawNext() {
    this.drawing ??= setTimeout(() => {
      this.drawing = null;
      const node = [...this.waiting.keys()].find((one) => this.near.has(one));
      if (!node) return;
      const chart = this.waiting.get(node);
      this.waiting.delete(node);
      this.draw(node, ...chart);
      this.drawNext();
    });
  }

  // Moves points of one trace without a new chart.
  move(node, trace, x, y) {
    const waiting = this.waiting.get(node);
    if (waiting) Object.assign(waiting[0][trace] ?? {}, { x, y });
    else if (this.plotly && node.data?.length > trace) this.plotly.restyle(node, { x: [x], y: [y] }, [trace]);
  }
}

// `axis` holds for all axes, of which there may be several: xaxis, xaxis2, …
export function layoutOf(theme, { axis = {}, ...rest }) {
  const all = { gridcolor: theme.line, zeroline: false, linecolor: theme.line, ...axis };
  const axes = Object.entries({ xaxis: {}, yaxis: {}, ...rest }).filter(([name]) => /^[xy]axis/.test(name));
  return {
    paper_bgcolor: CLEAR, plot_bgcolor: CLEAR, showlegend: false, hovermode: "x unified",
    font: { color: theme.text, size: theme.big ? 14 : 12 },
    hoverlabel: { bgcolor: theme.background, font: { color: theme.text } }, ...rest,
    ...Object.fromEntries(axes.map(([name, own]) => [name, { ...all, ...own }])),
  };
}

export const NOTHING = { xaxis: { visible: false }, yaxis: { visible: false } };
export const SHARES = { range: [0, 1.02], tickformat: ".0%" };
export const titled = (text, standoff = 2) => ({ title: { text, standoff, font: { size: 12 } } });
export const margins = (l, r, t, b) => ({ margin: { l, r, t, b } });

// Lines across the whole chart.
export const upright = (x, line) => ({ type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper", line });
export const level = (y, line) => ({ type: "line", x0: 0, x1: 1, xref: "paper", y0: y, y1: y, line });

// Words at a place in shares of the chart, unless `more` says otherwise.
export const words = (text, x, y, more) => ({ text, x, y, xref: "paper", yref: "paper", showarrow: false, ...more });

// Where each of `count` charts above each other begins and ends on the axis they share, the first at the top.
export function stories(count, gap) {
  const height = (1 - gap * (count - 1)) / Math.max(1, count);
  const tops = Array.from({ length: count }, (_, index) => 1 - index * (height + gap));
  return tops.map((top) => [Math.max(0, top - height), top]);
}

// The nth of several axes: "yaxis", "yaxis2" in a layout, "y", "y2" in a trace.
export const axisName = (name, index) => (index ? name + (index + 1) : name);

// `look`: width, dash and shape of the line. `form`: how its values read under the pointer.
export const line = (curve, name, color, look = {}, form = "%{y:.0%}", more = {}) => ({
  ...curve, name, mode: "lines", line: { color, width: 2, ...look }, hovertemplate: form, ...more,
});

export const PERCENT = "%{y:.1%}";
export const FIGURE = "%{y:.4g}";
export const TEXT = "%{text}<extra></extra>";

// Marks at [x, y], with words under the pointer.
export const marks = (places, marker, text, more = {}) => ({
  x: places.map(([x]) => x), y: places.map(([, y]) => y), mode: "markers", cliponaxis: false, marker, text,
  hovertemplate: TEXT, ...more,
});

// A line that says nothing under the pointer.
export const rule = (x, y, color, dash = "solid", width = 2) => ({
  x, y, mode: "lines", line: { color, width, dash }, hoverinfo: "skip",
});

export const bars = (x, y, name, color, opacity = 1, form = "%{y}") => ({
  type: "bar", x, y, name, marker: { color, opacity }, hovertemplate: form,
});

// The area between two curves over the same places.
export function band(x, low, high, fillcolor) {
  const edge = { x, mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
  return [{ ...edge, y: low }, { ...edge, y: high, fill: "tonexty", fillcolor }];
}
