// Whether it is a component's turn to ask. Streamlit's front end takes what comes in the moment of another change for
// the same change, and what is asked in the name of a page that is being left clears the one that comes: whatever was
// pressed outside of our components goes first.

const FIRST_MS = 500, LEAVING_MS = 10_000;
const heard = { at: -Infinity, leaving: null };

for (const kind of ["click", "keydown", "change"]) {
  globalThis.document?.addEventListener(kind, ({ target }) => {
    if (target.closest?.(".dfkd-host")) return;
    const link = kind === "click" && target.closest?.("a[href]");
    Object.assign(heard, { at: Date.now(), leaving: link && link.pathname !== here() ? here() : null });
  }, true);
}

// Milliseconds for which a question has to wait.
export function toWait() {
  const first = heard.leaving === null ? FIRST_MS : heard.leaving === here() ? LEAVING_MS : 0;
  return Math.max(0, heard.at + first - Date.now());
}

export const here = () => globalThis.location?.pathname;
