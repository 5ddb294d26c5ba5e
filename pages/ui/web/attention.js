// What has the keyboard's attention keeps it when a component is drawn anew.

const REACHED = "a[href], button, input, select, textarea, [tabindex]";
const nameOf = (one) => one.getAttribute("aria-label") ?? one.textContent;

// Below `host` an element whose like is drawn in its stead hands it on: to what bears its name, or stands at its place.
export function keepAttention(host) {
  const all = () => [...host.querySelectorAll(REACHED)].filter((one) => !one.disabled);
  let held = null, place = -1;
  const seeing = new MutationObserver(() => {
    if (held.isConnected) return;
    const there = all(), like = there.filter((one) => nameOf(one) === nameOf(held));
    const next = like.includes(there[place]) ? there[place] : (like[0] ?? there[Math.min(place, there.length - 1)]);
    if (document.activeElement === document.body) next?.focus({ preventScroll: true });
    else forget();
  });
  const forget = () => { held = null; seeing.disconnect(); };
  host.addEventListener("focusin", ({ target }) => {
    held = target;
    place = all().indexOf(target);
    seeing.observe(host, { childList: true, subtree: true });
  });
  // It was left, unless it is just being taken away, of which some browsers tell in the same words.
  const left = () => held?.isConnected && held !== document.activeElement && forget();
  host.addEventListener("focusout", () => setTimeout(left));
}
