// What the components of the lab share: words for numbers, elements, colours of the theme, canvases, plotly.

const percent = (value, digits = 1) => (100 * value).toFixed(digits) + " %";
const whole = (value) => Math.round(100 * value) + " %";
const brief = (value) => (value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(1) : value.toPrecision(3));
const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

// Distinct to colour-blind people (Okabe & Ito 2008), first in the light theme, then in the dark one.
const PALETTES = {
  light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b07d00", "#56b4e9", "#8c6bb1", "#7a7a7a", "#a6761d", "#444444"],
  dark: ["#56b4e9", "#ff8a4c", "#2fc79a", "#e79ac6", "#f0c04a", "#8fb8ff", "#b79be0", "#aaaaaa", "#d2a679", "#eeeeee"],
};
// Viridis without the end that would vanish in the background.
const RAMPS = {
  light: ["#440154", "#3b528b", "#21918c", "#43b36a", "#a5b51f"],
  dark: ["#5a63b5", "#3f8fb0", "#29ad8c", "#79d151", "#fde725"],
};

function duration(seconds) {
  if (seconds == null) return "";
  const s = Math.round(seconds);
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min " + (s % 60) + " s";
  return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
}

function loadPlotly(base) {
  if (!window.dfkdPlotly) {
    window.dfkdPlotly = new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = base + "/app/static/plotly.min.js";
      script.onload = () => resolve(window.Plotly || window.moduleName);
      script.onerror = () => reject(new Error("plotly.min.js could not be read"));
      document.head.appendChild(script);
    });
  }
  return window.dfkdPlotly;
}

// An element with properties, and with children: elements or texts.
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "dataset") Object.assign(made.dataset, value);
    else if (name.startsWith("aria-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

// The page's colours as canvases need them; also marks a dark theme on `root`.
function themeOf(root) {
  const style = getComputedStyle(root);
  const read = (name) => style.getPropertyValue(name).trim();
  const background = read("--st-background-color");
  const parts = background.match(/[0-9a-f]{2}/gi);
  const dark = Boolean(parts) && parts.slice(0, 3).reduce((sum, part) => sum + parseInt(part, 16), 0) < 380;
  root.classList.toggle("dark", dark);
  const mode = dark ? "dark" : "light";
  const named = Object.fromEntries(
    ["clean", "rejected", "student", "teacher", "real"].map((name) => [name, read("--" + name)]),
  );
  return {
    ...named,
    mode,
    background,
    text: read("--st-text-color"),
    panel: read("--st-secondary-background-color"),
    line: dark ? "rgba(255,255,255,.15)" : "rgba(0,0,0,.12)",
    muted: dark ? "#9aa4b0" : "#667080",
    palette: PALETTES[mode],
    font: read("--st-font") || "sans-serif",
  };
}

// One colour a class: the palette, and from the 11th on hues that go round in steps of the golden angle.
function classColour(theme, index) {
  if (index < theme.palette.length) return theme.palette[index];
  return `hsl(${(index * 137.5) % 360} 62% ${theme.mode === "dark" ? 66 : 40}%)`;
}

const parsedColours = new Map();
function channels(colour) {
  if (!parsedColours.has(colour)) {
    parsedColours.set(
      colour,
      [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16)),
    );
  }
  return parsedColours.get(colour);
}

// The colour at `share`, 0 to 1, of the theme's ramp.
function rampColour(theme, share) {
  const ramp = RAMPS[theme.mode];
  const place = clamp(Number.isFinite(share) ? share : 1, 0, 1) * (ramp.length - 1);
  const from = Math.min(ramp.length - 2, Math.floor(place));
  const part = place - from;
  const [low, high] = [channels(ramp[from]), channels(ramp[from + 1])];
  return `rgb(${low.map((value, k) => Math.round(value + part * (high[k] - value))).join(" ")})`;
}

// A canvas as large as its box, sharp on every screen, empty: its context in CSS pixels.
function sharp(canvas) {
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  const ratio = window.devicePixelRatio || 1;
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

// Round numbers from 0 to at least `most`, about `count` of them.
function ticks(most, count = 4) {
  const raw = Math.max(most, 1e-9) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= raw);
  const found = [];
  for (let value = 0; value <= most + 1e-9; value += step) found.push(Number(value.toPrecision(6)));
  return found;
}

const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

// Hands the user a file.
function download(name, base64) {
  const address = URL.createObjectURL(new Blob([bytesOf(base64)]));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

// A column of numbers as Python packs it.
function typedArray({ type, data }) {
  const bytes = bytesOf(data);
  return new { float32: Float32Array, int16: Int16Array, uint8: Uint8Array }[type](bytes.buffer);
}

function pngImage(base64) {
  const image = new Image();
  image.src = "data:image/png;base64," + base64;
  return image;
}

// Fills a select box with value -> words and tells of changes.
function choices(select, options, changed) {
  select.replaceChildren(...Object.entries(options).map(([value, words]) => element("option", { value }, words)));
  select.addEventListener("change", () => changed(select.value));
}

// A legend of [words, colour, shape of the swatch] and a note; untouched while nothing in it changes.
function legend(box, entries, note = "") {
  const key = JSON.stringify([entries, note]);
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  const made = entries.map(([words, colour, shape]) => {
    const swatch = element("s", { className: shape });
    swatch.style.color = colour;
    return element("i", {}, swatch, words);
  });
  box.replaceChildren(...made, note);
}
