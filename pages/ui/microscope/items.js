// What the microscope has been told so far, item by item, and what it asks for.

import { download } from "../web/dom.js";
import { Questions } from "../web/questions.js";
import { bytesOf, Sheet, typedArray } from "../web/sheet.js";
import { Frame } from "./samples.js";

const MOST_BYTES = 96e6; // of frames kept

export class Items extends Questions {
  constructor(scope) {
    super(scope.root, () => scope.told(), () => scope.leave());
    this.scope = scope;
    this.items = new Map();
  }

  begin() {
    super.begin();
    for (const item of this.items.values()) item?.close?.();
    this.items.clear();
  }

  has(key) { return this.items.has(key); }
  get(key) { return this.items.get(key); }

  // The item, undefined while it is on its way, null if there is none.
  need(key) { if (!this.has(key)) this.want(key); return this.get(key); }

  // How many frames of `bytes` each are asked for before they are looked at.
  roomFor(bytes) { return MOST_BYTES / 4 / bytes; }

  take(data, setStateValue) {
    for (const [kind, { version }] of Object.entries(data.layouts)) if (version != null) this.outdated(kind, version);
    for (const [key, value] of Object.entries(data.items)) this.receive(key, value);
    this.answered(data, Object.keys(data.items), setStateValue);
  }

  // A layout that was fitted again places everything anew.
  outdated(kind, version) {
    for (const [key, value] of this.items) {
      const [what, of] = key.split(" ");
      if ((what === "layout" || what === "places") && of === kind && value?.version !== version) this.items.delete(key);
    }
  }

  receive(key, value) {
    const [what, ...about] = key.split(" ");
    if (what === "export") return this.deliver(key, value);
    if ((what === "frame" || what === "real") && this.get(key)) return; // it came once more
    this.items.set(key, value && what in this.unpack ? this.unpack[what](value, about) : value);
    if (what === "frame") this.evict();
  }

  unpack = {
    frame: (value, [source, step]) => this.opened(new Frame(value, source, Number(step))),
    real: (value) => this.opened(new Frame(value, "real", 0)), film: (value) => this.opened(new Sheet(value)),
    places: ({ version, xy }) => ({ version, xy: xy && typedArray(xy) }),
    layout: (value) => ({ ...value, real: value.real && typedArray(value.real) }), inside: (value) => typedArray(value),
  };

  opened(sheet) { sheet.decoded.then(() => this.scope.refresh()); return sheet; }

  // A file goes to the user's folder, once for each time that it is asked for.
  deliver(key, file) {
    if (!this.wanted.has(key)) return;
    if (file) download(file.name, bytesOf(file.data));
    else this.scope.say("failed", "The samples could not be exported: their files cannot be read.");
  }

  // Oldest frames first, the one shown never.
  evict() {
    let bytes = 0;
    for (const value of this.items.values()) bytes += value?.bytes || 0;
    for (const [key, value] of this.items) {
      if (bytes < MOST_BYTES) return;
      if (!key.startsWith("frame") || value === this.scope.frame) continue;
      bytes -= value?.bytes || 0;
      value?.close?.(); // or its picture stays in memory as long as the tab is there
      this.items.delete(key);
    }
  }
}
