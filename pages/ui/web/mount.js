// How a component comes onto the page: what `mounting` returns, Streamlit calls with the data of each rerun.

import { keepAttention } from "./attention.js";

const told = (link, done) => ["load", "error"].forEach((name) => link.addEventListener(name, done));
const loaded = (link) => link.sheet || new Promise((done) => told(link, done));

// Where a component's elements go, as soon as its style sheets are there.
export async function hostOf(parent) {
  await Promise.all([...parent.querySelectorAll("link[rel=stylesheet]")].map(loaded));
  const host = parent.querySelector(".dfkd-host");
  if (!host.kept) host.kept = [keepKeys, keepAttention].map((keep) => keep(host));
  beginAtTop();
  return host;
}

// Marks that turn the order of what is written around; a name that a stranger gave may hold them.
const TURNING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

// What Python sent, with a replacement sign for each of them. Columns of numbers are left as they are.
export function legible(value) {
  if (typeof value === "string") return value.replace(TURNING, "\ufffd");
  if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(legible);
  if (value?.constructor !== Object) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [legible(name), legible(one)]));
}

// A key that did something here, or moves a native slider, does nothing else on the page: Streamlit's shortcuts listen
// to all of it.
function keepKeys(host) {
  host.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.target.matches("input, select, textarea")) event.stopPropagation();
  });
}

// A stop of a lesson begins at the top of its page, wherever the one before was left.
let stop = null;
function beginAtTop() {
  const query = new URLSearchParams(location.search), now = query.get("lesson") && query.get("stop");
  if (now && now !== stop) document.querySelector("[data-testid=stMain]")?.scrollTo(0, 0);
  stop = now;
}

// What a panel is called, in whatever view.
const panelOf = (host, name) => host.querySelector(["dfkd", "scope", "exp"].map((kind) => `.${kind}-${name}`).join());

// Frames the panel that a lesson speaks of, and scrolls there, once; not on a phone, where its card does not stay. The
// track stays below the card, whose texts differ in length.
export function frame(host, name) {
  const card = document.querySelector(".st-key-lesson-card");
  host.style.setProperty("--card", (card?.offsetHeight ?? 0) + "px");
  const panel = name ? panelOf(host, name) : null, before = host.querySelector(".framed");
  if (panel === before) return;
  before?.classList.remove("framed");
  panel?.classList.add("framed");
  if (panel && !matchMedia("(max-width: 767px)").matches) intoSight(panel);
}

// Scrolls to a panel, and again when it, or what stands above it, has grown: images and charts come a moment later.
const GROWING_MS = 2500;
export function intoSight(panel) {
  const view = panel.closest(".dfkd-view");
  const scroll = () => panel.scrollIntoView({ behavior: "smooth", block: "end" }); // the card above stays in sight
  const growing = new ResizeObserver(scroll); // which calls it at once, too
  [panel, view].forEach((one) => one && growing.observe(one));
  setTimeout(() => growing.disconnect(), GROWING_MS);
}

// Tells Python when nobody looks any more, and when somebody does again, until it says so itself.
const SAY_AGAIN_MS = 2500;
function tellHidden(host, known, setStateValue) {
  const tell = () => {
    clearTimeout(host.telling);
    if (!host.isConnected) return document.removeEventListener("visibilitychange", tell);
    if (document.hidden === host.known) return;
    host.setStateValue("hidden", document.hidden);
    host.telling = setTimeout(tell, SAY_AGAIN_MS);
  };
  if (host.known === undefined) document.addEventListener("visibilitychange", tell);
  Object.assign(host, { known, setStateValue });
  if (host.telling === undefined) tell(); // it was hidden when it came
}

// The view is made once for a place on the page and outlives reruns.
export const mounting = (View) => async ({ data: [data], parentElement, setStateValue }) => {
  const host = await hostOf(parentElement);
  host.view ??= new View(host);
  await host.view.update(legible(data), setStateValue);
  frame(host, data.framed);
  tellHidden(host, data.hidden, setStateValue);
};
