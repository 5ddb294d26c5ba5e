// The page's colours as canvases and plots need them. What means something has its colour in look.css.

import { clamp } from "./numbers.js";

const NAMED = ["clean", "rejected", "real", "teacher", "student", "made"];
const WIDE = 1350; // pixels from which writing is larger, as in the style sheets
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

// Also marks a dark theme on `root`. What has the same `key` looks the same.
export function themeOf(root) {
  const style = getComputedStyle(root);
  const read = (name) => style.getPropertyValue(name).trim();
  const background = read("--st-background-color"), parts = background.match(/[0-9a-f]{2}/gi);
  const dark = Boolean(parts) && parts.slice(0, 3).reduce((sum, part) => sum + parseInt(part, 16), 0) < 380;
  root.classList.toggle("dark", dark);
  const mode = dark ? "dark" : "light";
  const big = root.clientWidth > WIDE;
  return {
    ...Object.fromEntries(NAMED.map((name) => [name, read("--" + name)])), mode, big, key: `${background} ${big}`,
    background, text: read("--st-text-color"), panel: read("--st-secondary-background-color"),
    line: dark ? "rgba(255,255,255,.15)" : "rgba(0,0,0,.12)", muted: dark ? "#9aa4b0" : "#667080",
    palette: PALETTES[mode], font: read("--st-font") || "sans-serif",
  };
}

// One colour a class: the palette, and from the 11th on hues that go round in steps of the golden angle.
export function classColour(theme, index) {
  if (index < theme.palette.length) return theme.palette[index];
  return `hsl(${(index * 137.5) % 360} 62% ${theme.mode === "dark" ? 66 : 40}%)`;
}

const channels = (colour) => [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
const RAMP_CHANNELS = Object.fromEntries(Object.entries(RAMPS).map(([mode, ramp]) => [mode, ramp.map(channels)]));

// "#0072b2" and 0.2 -> "rgba(0,114,178,0.2)"
export const faint = (colour, share) => `rgba(${channels(colour).join()},${share})`;

// The colour at `share`, 0 to 1, of the theme's ramp.
export function rampColour(theme, share) {
  const ramp = RAMP_CHANNELS[theme.mode];
  const place = clamp(Number.isFinite(share) ? share : 1, 0, 1) * (ramp.length - 1);
  const from = Math.min(ramp.length - 2, Math.floor(place));
  const [low, high] = [ramp[from], ramp[from + 1]];
  return `rgb(${low.map((value, k) => Math.round(value + (place - from) * (high[k] - value))).join(" ")})`;
}
