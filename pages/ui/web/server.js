// Says what it means when the lab's server does not answer any more: it was stopped, and what trains does not mind.
// Part of every page, outside of what Streamlit draws.

const PATIENCE_MS = 4000; // a short gap is none
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
}

function made() {
  const box = document.createElement("div");
  Object.assign(box, { className: "lab-gone", role: "alert", innerHTML: WORDS });
  return box;
}

// Style sheets of pages/ui/shell.py that hold until something is there are taken away in the moment that it comes.
const until = {
  stSidebar: "[data-testid=stSidebar]",
  stSidebarNav: "[data-testid=stSidebarNav]",
  lesson: ".st-key-lesson-card, [data-testid=stAlert]",
};

function arrive() {
  for (const sheet of document.querySelectorAll("style[data-until]")) {
    if (document.querySelector(until[sheet.dataset.until])) sheet.remove();
  }
  if (!document.querySelector("style[data-until]")) coming.disconnect();
}

const coming = new MutationObserver(arrive);
coming.observe(document.body, { childList: true, subtree: true });
arrive();
setInterval(look, 500);
