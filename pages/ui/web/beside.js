// What a link leads to, beside the page that it stands on: a term of the glossary, or a run's own page. Part of every
// page, outside of what Streamlit draws. Held with Ctrl, or from a menu, a link opens a tab as ever.

import { element, pressable } from "./dom.js";

const HERE = new URL(".", import.meta.url);
let panel = null, opener = null, known = null;

// As in pages/ui/words/glossary.py.
const slug = (name) => name.split("/")[0].toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");

// The entry of a term as the server wrote it; nothing before it has, or of what is no term.
async function entryOf(address) {
  known ??= fetch(new URL("../../glossary.json", HERE), { cache: "no-cache" }).then((answer) => answer.json());
  try {
    const { entries, names } = await known;
    return entries[names[slug(address.searchParams.get("term"))]];
  } catch {
    known = null;
  }
}

async function term(address) {
  const entry = await entryOf(address);
  if (!entry) return window.open(address, "dfkd-glossary");
  const box = element("div.terms", { innerHTML: entry });
  const { textContent } = box.querySelector("h3");
  show("term", `Glossary: ${textContent}`, address, box);
}

function run(address) {
  address.searchParams.set("beside", "1");
  const frame = element("iframe", { src: address, title: "The run" });
  address.searchParams.delete("beside");
  show("run", `Run ${address.searchParams.get("run")}`, address, frame);
}

function show(kind, name, address, content) {
  if (!panel) {
    panel = document.body.appendChild(element("aside.beside"));
    panel.style.colorScheme = getComputedStyle(document.querySelector(".stApp")).colorScheme; // only the app knows it
    opener = focused(document);
  }
  const tab = element("a", { href: address, target: "_blank", title: "In a tab of its own" }, "Open ↗");
  const close = pressable("Close", leave, { title: "Escape" });
  panel.className = `beside ${kind}`;
  panel.setAttribute("aria-label", name);
  panel.replaceChildren(element("header", element("b", { title: name }, name), tab, close), content);
  close.focus();
}

export function leave() {
  panel?.remove();
  panel = null;
  opener?.focus?.();
}

const focused = ({ activeElement }) =>
  activeElement?.shadowRoot?.activeElement ? focused(activeElement.shadowRoot) : activeElement;

function follow(event) {
  if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const link = event.composedPath().find((one) => one.tagName === "A" && one.href);
  if (!link || link.closest(".beside header")) return;
  const address = new URL(link.href), isTerm = /\/glossary$/.test(address.pathname) && address.searchParams.has("term");
  if (address.origin !== location.origin || !(isTerm || link.target === "dfkd-beside")) return;
  event.preventDefault();
  (isTerm ? term : run)(address);
}

// The first of all that listen: what else Escape closes stays open.
function escape(event) {
  if (event.key !== "Escape" || !panel) return;
  event.stopImmediatePropagation();
  leave();
}

// A page that stands beside another closes itself, unless something on it took the key.
function inside(event) {
  if (event.key === "Escape" && !event.defaultPrevented) window.parent.postMessage("dfkd: leave", location.origin);
}

if (!document.querySelector("link.lab-terms")) {
  const href = new URL("../words/terms.css", HERE);
  document.head.append(element("link.lab-terms", { rel: "stylesheet", href }));
  window.addEventListener("click", follow, true);
  window.addEventListener("keydown", escape, true);
  if (window.parent !== window) window.addEventListener("keydown", inside);
  window.addEventListener("message", ({ data, source }) => {
    if (data === "dfkd: leave" && source === panel?.querySelector("iframe")?.contentWindow) leave();
  });
}
