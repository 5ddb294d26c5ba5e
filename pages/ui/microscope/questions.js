// What the browser asks of Python, item by item, and what it has been told so far.

const ASK_AGAIN_MS = 2500;
const MOST_ASKED = 32; // items at once
const MOST_BYTES = 96e6; // of frames kept

class Questions {
  constructor(scope) {
    this.scope = scope;
    this.items = new Map();
    this.wanted = new Set();
    this.orders = [];
  }

  begin() {
    this.items.clear();
    this.wanted.clear();
    this.waiting = null;
  }

  has(key) {
    return this.items.has(key);
  }
  get(key) {
    return this.items.get(key);
  }

  // The item, undefined while it is on its way, null if there is none.
  need(key) {
    if (!this.items.has(key) && !this.wanted.has(key)) {
      this.wanted.add(key);
      this.tell(10);
    }
    return this.items.get(key);
  }

  // Something to be done, repeated until Python says that it is.
  order(name, about = {}) {
    this.orders.push({ id: `${name}/${Date.now()}/${Math.random()}`, name, ...about });
    this.tell(0);
  }

  // One question at a time, the next when the answer is here: a rerun that begins right behind another can make
  // Streamlit drop what that one drew. An answer that does not come is asked for again.
  tell(after = 150) {
    const due = Date.now() + after;
    if (this.due && this.due <= due) return;
    clearTimeout(this.telling);
    this.due = due;
    this.telling = setTimeout(() => this.send(), after);
  }

  send() {
    this.due = null;
    const now = Date.now();
    this.unsaid = this.waiting && now - this.asked < ASK_AGAIN_MS;
    if (this.unsaid || !this.setStateValue) return;
    this.asked = now;
    this.waiting = `${now}/${Math.random()}`;
    const want = [...this.wanted].slice(-MOST_ASKED);
    this.setStateValue("ask", { ...this.scope.told(), nonce: this.waiting, want, orders: this.orders });
  }

  remind() {
    const since = Date.now() - (this.asked || 0);
    const poll = this.scope.data?.poll;
    if (this.waiting ? since > ASK_AGAIN_MS : poll && since > 1000 * poll - 500) this.tell(0);
  }

  // --- answers ---

  answered(data, setStateValue) {
    this.setStateValue = setStateValue;
    for (const [kind, { version }] of Object.entries(data.layouts)) if (version != null) this.outdated(kind, version);
    for (const [key, value] of Object.entries(data.items)) this.receive(key, value);
    this.orders = this.orders.filter((order) => !data.done.includes(order.id));
    if (data.answered !== this.waiting) return;
    this.waiting = null;
    if (this.unsaid || this.wanted.size || this.orders.length) this.tell(0);
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
    this.wanted.delete(key);
    this.items.set(key, value && what in this.unpack ? this.unpack[what](value, about) : value);
    if (what === "frame") this.evict();
    if (what === "export") this.deliver(key, value);
  }

  unpack = {
    frame: (value, [source, step]) => this.decoded(new Frame(source, Number(step), value)),
    real: (value) => this.decoded(new Frame("real", 0, value)),
    places: ({ version, xy }) => ({ version, xy: xy && typedArray(xy) }),
    layout: (value) => ({ ...value, real: value.real && typedArray(value.real) }),
    inside: (value) => typedArray(value),
    film: (value) => this.decoded(new Film(value)),
  };

  decoded(pictures) {
    pictures.decoded.then(() => this.scope.refresh());
    return pictures;
  }

  // A file goes to the user's folder, and is made again when it is asked for again.
  deliver(key, file) {
    this.items.delete(key);
    if (file) download(file.name, file.data);
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
      this.items.delete(key);
    }
  }
}
