// Says what it means when the lab's server does not answer any more: it was stopped, and what trains does not mind.
// Part of every page, outside of what Streamlit draws.

const PATIENCE_MS = 4000; // a short gap is none
const BLANK_LOOKS = 3; // in a row
const WORDS =
  "<b>The lab's server does not answer: it was stopped, or is no longer reached from here.</b> Runs that train go on " +
  "without it. Start it again where it ran, with <code>make app</code> or <code>streamlit run app.py</code>; this " +
  "page then goes on by itself; if it asks for a token, open the address that the lab prints.";

let box = null, since = Infinity; // when it was last heard of

function look() {
  const state = document.querySelector("[data-testid=stApp]")?.dataset.testConnectionState;
  if (state === "CONNECTED") since = Date.now();
  const gone = Date.now() - since > PATIENCE_MS;
  if (gone && !box) document.body.append((box = made()));
  if (!gone && box) {
    box.remove();
    box = null;
  }
  document.body.classList.toggle("lab-is-gone", gone);
  draw();
}

// A page that came while the one before it asked for something may have been cleared: it is drawn again.
let blank = 0;

function draw() {
  const app = document.querySelector("[data-testid=stApp]")?.dataset ?? {};
  const there = document.querySelector("[data-testid=stMain] [data-testid=stElementContainer]:not(:has(.page-name))");
  blank = app.testScriptState === "notRunning" && app.testConnectionState === "CONNECTED" && !there ? blank + 1 : 0;
  if (blank !== BLANK_LOOKS) return;
  const link = document.querySelector("[data-testid=stSidebarNavLink][aria-current=page]");
  if (link) link.click();
  else location.reload();
}

function made() {
  const box = document.createElement("div");
  Object.assign(box, { className: "lab-gone", role: "alert", innerHTML: WORDS });
  return box;
}

// Style sheets of pages/ui/shell.py that hold until something is there are taken away in the moment that it comes; that
// of a lesson when its card, whose own style comes a little later than itself, has gone again.
let given = false;

const until = {
  alone: () => window.parent === window,
  elsewhere: () => ![undefined, "Notes"].includes(document.querySelector(".page-name")?.textContent),
  stSidebar: () => document.querySelector("[data-testid=stSidebar]"),
  stSidebarNav: () => document.querySelector("[data-testid=stSidebarNav]"),
  lesson: () => {
    const card = document.querySelector(".st-key-lesson-card");
    given ||= card !== null;
    return card === null && (given || document.querySelector("[data-testid=stAlert]"));
  },
};

function arrive() {
  for (const sheet of document.querySelectorAll("style[data-until]")) {
    if (until[sheet.dataset.until]()) sheet.remove();
  }
  if (!document.querySelector("style[data-until]")) coming.disconnect();
}

// Fonts of formulas, before one is drawn: in another font it is not as wide.
for (const font of ["Main", "Size1", "Size2", "Size3", "Size4"]) document.fonts.load(`1em KaTeX_${font}`);
document.fonts.load("italic 1em KaTeX_Math");

const coming = new MutationObserver(arrive);
coming.observe(document.body, { childList: true, subtree: true });
arrive();
setInterval(look, 500);
// Only now: the sidebar comes while more files are on their way, and its sheet has to go in that moment.
import("./beside.js");
import("./pressed.js").then(({ follow }) => follow());
