// A button that steers shows in the next frame that it was pressed, until Python has something to say of it: the server
// may be busy, and a run confirms between two of its steps. Part of every page.

const STEERING = ["start", "pause_or_resume", "step", "stop", "continue", "lesson-run", "lesson-start", "lesson-stop"];
const BUTTONS = STEERING.map((key) => `.st-key-${key} button`).join();
const PATIENCE_MS = 5000;

export function follow() {
  document.addEventListener("click", ({ target }) => {
    const button = target.closest?.(BUTTONS);
    if (!button || button.disabled) return;
    button.dataset.pressed = "";
    const answered = () => {
      delete button.dataset.pressed;
      answers.disconnect();
      clearTimeout(late);
    };
    const answers = new MutationObserver(answered);
    answers.observe(button, { attributeFilter: ["disabled"], characterData: true, childList: true, subtree: true });
    const late = setTimeout(answered, PATIENCE_MS);
  }, true);
}
