// What the browser asks of Python. What it lacks is asked for until it is there, and Python answers whatever is wanted
// in every rerun: one that begins right behind another can make Streamlit drop what that one drew. Orders are given
// until Python says that they are carried out.

import { here, toWait } from "./turn.js";

const ASK_AGAIN_MS = 2500, LOOK_MS = 1000;
const AWAY_LOOKS = 3; // after which a component that is nowhere on the page is given up
const MOST_ASKED = 32; // items at once

export class Questions {
  // `told()`: what the page is about, and where the user looks, for the address bar. `gone()`: the component was left.
  constructor(root, told, gone = () => {}) {
    Object.assign(this, { root, told, gone, page: here(), wanted: new Set(), said: [], orders: [], asked: 0 });
  }

  // About something else.
  begin() { this.wanted.clear(); this.orders = []; this.waiting = null; }
  want(key) { if (this.wanted.has(key)) return; this.wanted.add(key); this.tell(10); }

  order(name, about = {}) {
    this.orders.push({ id: `${name}/${Date.now()}/${Math.random()}`, name, ...about });
    this.tell(0);
  }

  // One question at a time, the next when the answer is here.
  tell(after = 150) {
    const due = Date.now() + after;
    if (this.due && this.due <= due) return;
    clearTimeout(this.telling);
    this.due = due;
    this.telling = setTimeout(() => this.send(), after);
  }

  send() {
    this.due = null;
    if (this.page !== here()) return; // which is being left
    if (toWait()) return this.tell(toWait());
    const now = Date.now();
    this.unsaid = this.waiting && now - this.asked < ASK_AGAIN_MS;
    if (this.unsaid || !this.setStateValue) return;
    this.asked = now;
    this.waiting = `${now}/${Math.random()}`;
    this.said = [...this.wanted].slice(-MOST_ASKED);
    this.setStateValue("ask", { ...this.told(), id: this.waiting, want: this.said, orders: this.orders });
  }

  // News: `got` are the keys of what came with them.
  answered({ answered, done = [], poll }, got, setStateValue) {
    Object.assign(this, { setStateValue, poll, away: 0 });
    this.timer ??= setInterval(() => this.look(), LOOK_MS);
    got.forEach((key) => this.wanted.delete(key));
    this.orders = this.orders.filter((order) => !done.includes(order.id));
    if (answered !== this.waiting) return;
    this.waiting = null;
    if (this.unsaid || this.wanted.size || this.orders.length) this.tell(0);
  }

  // Asks again for what did not come; says that nothing is wanted any more; asks for news where Python wants that.
  look() {
    if (!this.root.isConnected) return this.leave();
    this.away = 0;
    const since = Date.now() - this.asked;
    if (this.waiting ? since > ASK_AGAIN_MS : this.wanted.size || this.said.length) this.tell(0);
    else if (!this.waiting && this.poll && !globalThis.document?.hidden && since > 1000 * this.poll - 500) this.tell(0);
  }

  // A rerun can take a component off the page for a moment.
  leave() {
    this.away += 1;
    if (this.away < AWAY_LOOKS) return;
    clearInterval(this.timer);
    this.timer = null;
    this.gone();
  }
}
