// Elements of the page.

// An element "tag.class": its properties, if any, and children: elements, texts, lists. What is null is left out.
export function element(kind, ...parts) {
  const [tag, ...classes] = kind.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  const properties = parts[0]?.constructor === Object ? parts.shift() : {};
  for (const [name, value] of Object.entries(properties)) {
    if (value == null) continue;
    if (name === "dataset") Object.assign(made.dataset, value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) made.style.setProperty(key, one);
    else if (name.startsWith("aria-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...parts.flat().filter((part) => part != null));
  return made;
}

// Opens beside the page, in the one tab for what is so linked.
export const link = (words, href, target = "dfkd-beside") => element("a", { href, target }, words);

// To the glossary, which knows its terms by the names that stand on the pages.
export const termAddress = (base, name) =>
  `${base}/glossary?term=${encodeURIComponent(name.toLowerCase().replace(/[ _]/g, "-"))}`;
export const termLink = (base, name) => link(name, termAddress(base, name), "dfkd-glossary");

// A button that does something.
export function pressable(words, act, properties = {}) {
  const made = element("button", properties, words);
  made.addEventListener("click", act);
  return made;
}

// Fills a select box with [value, words], and with values that are their own words. `changed` is told of changes.
export function options(select, pairs, changed) {
  const made = pairs.map((one) => [one].flat()).map(([value, words = value]) => element("option", { value }, words));
  select.replaceChildren(...made);
  if (changed) select.addEventListener("change", () => changed(select.value));
}

// Texts by the names of the elements that show them.
export function write(at, texts) {
  for (const [name, text] of Object.entries(texts)) at(name).textContent = text;
}

// Says whether a button is pressed.
export const press = (button, pressed) => button.setAttribute("aria-pressed", String(pressed));

// Elements below `root` with an attribute data-`name`: `act` is called with each and its value, or when it is clicked.
export const eachOf = (root, name, act) =>
  root.querySelectorAll(`[data-${name}]`).forEach((found) => act(found, found.dataset[name]));
export const onClick = (root, name, act) =>
  eachOf(root, name, (found, value) => found.addEventListener("click", () => act(value)));

// Hides a box, or shows a sentence in it.
export function say(box, message, state = "") {
  box.hidden = !message;
  box.dataset.state = state;
  box.textContent = message || "";
}

// Fills a box unless `on`, what its content depends on, is as it was when it was filled.
export function once(box, on, act) {
  const key = JSON.stringify(on);
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  act(box);
}

// Other content at the same place of the scroll bar.
export function refilled(box, ...children) {
  const { scrollTop } = box;
  box.replaceChildren(...children);
  box.scrollTop = scrollTop;
}

// What there is to see, or what to do while there is nothing.
export const empty = (words) => element("div.dfkd-empty", words);

// Words with swatches of [words, colour, shape]. `named` makes an element of words.
export const swatches = (entries, named = (words) => words) =>
  entries.map(([words, color, shape]) =>
    element("i", element("s", { className: shape || "line", style: { color } }), named(words)),
  );

// A legend of such entries and a note.
export function legend(box, entries, note = "", named = undefined) {
  once(box, [entries, note], () => box.replaceChildren(...swatches(entries, named), note));
}

// Hands the user a file.
export function download(name, bytes) {
  const address = URL.createObjectURL(new Blob([bytes]));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
