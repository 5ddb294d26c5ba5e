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
}

function made() {
  const box = document.createElement("div");
  Object.assign(box, { className: "lab-gone", role: "alert", innerHTML: WORDS });
  return box;
}

// Until a lesson's card is there, a mark says that its page has no menu.
function come() {
  if (!document.querySelector(".st-key-lesson-card, [data-testid=stAlert]")) return;
  document.querySelector(".lesson-comes")?.remove();
}

setInterval(() => { look(); come(); }, 500);
