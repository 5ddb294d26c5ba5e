// The images on one canvas that draws only what is in sight, however many there are.

import { border, disc, sharp } from "../web/canvas.js";
import { onClick, options, say } from "../web/dom.js";
import { clamp } from "../web/numbers.js";
import { howTo, sorted } from "./samples.js";

const CAPTION = 14, GAP = 6;
const SORTS = ["loss", "confidence", "class", "posterior", "latent"];
const SHOWS = ["all", "selected", "clean", "rejected"];

export class Grid {
  constructor(panel, scope) {
    // `cursor`: the place in the order that is under the keyboard.
    Object.assign(this, { scope, panel, side: 44, order: [], cursor: 0 });
    [this.port, this.canvas, this.space, this.empty] = panel.querySelectorAll(
      ".scope-port, .scope-space, canvas, .scope-empty",
    );
    const listen = (name, act) => this.port.addEventListener(name, act);
    listen("scroll", () => this.draw());
    listen("click", (event) => this.click(event));
    listen("dblclick", (event) => this.open(this.placeAt(event)));
    listen("pointermove", (event) => this.hover(event));
    listen("pointerleave", () => scope.hover(null));
    listen("keydown", (event) => this.key(event));
    listen("focus", () => this.focus(true));
    listen("blur", () => this.focus(false));
    [this.sort, this.show] = panel.querySelectorAll("select");
    options(this.sort, SORTS, (sort) => scope.look({ sort }));
    options(this.show, SHOWS, (show) => scope.look({ show }));
    onClick(panel, "size", (factor) => this.resize(Number(factor)));
  }

  focus(focused) { this.focused = focused; this.scope.refresh(); }

  // --- places ---

  get columns() { return Math.max(1, Math.floor(this.port.clientWidth / (this.side + GAP))); }
  // From tile to tile, across and down.
  get step() { return this.port.clientWidth / this.columns; }
  get pitch() { return this.side + GAP + (this.side >= 40 ? CAPTION : 0); }

  // The order is made again only when something it depends on has changed.
  arrange() {
    const { frame, sort, show, selection, verdict } = this.scope;
    const picky = show === "all" ? "" : show === "selected" ? this.scope.selections : this.scope.verdicts;
    const key = [this.scope.run, frame.source, frame.step, sort, show, picky].join("|");
    if (key === this.arranged) return;
    this.arranged = key;
    const keep = {
      all: () => true, clean: (index) => verdict.clean[index], rejected: (index) => !verdict.clean[index],
      selected: (index) => selection.has(index),
    }[show];
    this.order = sorted(frame, sort, keep);
    this.cursor = clamp(this.cursor, 0, Math.max(0, this.order.length - 1));
  }

  placeAt(event) {
    const box = this.port.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / this.step);
    const row = Math.floor((event.clientY - box.top + this.port.scrollTop) / this.pitch);
    const place = row * this.columns + column;
    return column < this.columns && place < this.order.length ? place : null;
  }

  // --- hands ---

  click(event) {
    const place = this.placeAt(event);
    if (place == null) return;
    const anchor = this.cursor;
    this.cursor = place;
    this.choose(place, howTo(event), anchor);
    if (this.scope.opened != null && howTo(event) === "replace") this.open(place);
  }

  // Shift takes all from the last tile to this one, in the order shown.
  choose(place, how, anchor) {
    const range = this.order.slice(Math.min(anchor, place), Math.max(anchor, place) + 1);
    this.scope.selection.take(how === "add" ? range : [this.order[place]], how);
  }

  open(place) { if (place != null) this.scope.open(this.order[place], "right"); }

  hover(event) {
    const place = this.placeAt(event);
    const index = place == null ? null : this.order[place];
    this.port.title = index == null ? "" : this.scope.words(index);
    this.scope.hover(index);
  }

  key(event) {
    const row = this.columns, sideways = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    const moves = { ...sideways, ArrowUp: -row, ArrowDown: row, PageUp: -4 * row, PageDown: 4 * row };
    if (!this.order.length) return;
    if (event.key in moves) {
      const from = this.cursor;
      this.cursor = clamp(from + moves[event.key], 0, this.order.length - 1);
      if (event.shiftKey) this.choose(this.cursor, "add", from);
      this.reveal();
      this.scope.announce(this.scope.words(this.order[this.cursor]));
      if (this.scope.opened != null) this.open(this.cursor);
    } else if (event.key === " ") this.choose(this.cursor, event.shiftKey ? "add" : "toggle", this.cursor);
    else if (event.key === "Enter") this.open(this.cursor);
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) this.scope.selection.take(this.order);
    else return;
    event.preventDefault();
    this.scope.refresh();
  }

  // Scrolls to the first selected tile, unless one is in sight.
  seek() {
    const { selection } = this.scope;
    const first = this.order.findIndex((index) => selection.has(index));
    if (first < 0) return;
    const top = Math.ceil(this.port.scrollTop / this.pitch) * this.columns;
    const sight = top + Math.floor(this.port.clientHeight / this.pitch) * this.columns;
    if (!this.order.slice(top, sight).some((index) => selection.has(index))) this.reveal(first);
  }

  reveal(place = this.cursor) {
    const top = Math.floor(place / this.columns) * this.pitch, bottom = top + this.pitch;
    const { scrollTop, clientHeight } = this.port;
    if (top < scrollTop) this.port.scrollTop = top;
    else if (bottom > scrollTop + clientHeight) this.port.scrollTop = bottom - clientHeight;
  }

  resize(factor) { this.side = clamp(Math.round(this.side * factor), 20, 160); this.scope.refresh(); }

  // --- drawing ---

  draw() {
    const { frame, theme } = this.scope, { context, height } = sharp(this.canvas);
    if (frame) this.arrange();
    this.head(frame);
    if (!frame) return;
    const total = Math.ceil(this.order.length / this.columns) * this.pitch;
    this.space.style.height = Math.max(0, total - height) + "px";
    context.imageSmoothingEnabled = this.side < frame.width;
    Object.assign(context, { font: `12px ${theme.font}`, textAlign: "center", textBaseline: "alphabetic" });
    const { step } = this, top = this.port.scrollTop;
    const first = Math.floor(top / this.pitch) * this.columns;
    const last = Math.min(this.order.length, Math.ceil((top + height) / this.pitch) * this.columns);
    for (let place = first; place < last; place += 1) {
      const x = Math.round((place % this.columns) * step + (step - this.side) / 2);
      const y = 3 + Math.floor(place / this.columns) * this.pitch - top;
      this.tile(context, frame, this.order[place], x, y, place);
    }
  }

  head(frame) {
    const { steps, source, sort, show } = this.scope;
    const loading = steps.length ? "loading…" : "";
    this.panel.querySelector("h4 span").textContent = frame ? `${this.order.length} of ${frame.count}` : loading;
    say(this.empty, frame ? "" : this.scope.nothing());
    this.sort.querySelector("[value=latent]").textContent = source === "probes" ? "latent" : "order drawn";
    this.sort.querySelector("[value=posterior]").disabled = Boolean(frame) && !frame.posterior;
    this.sort.value = sort;
    this.show.value = show;
  }

  tile(context, sheet, index, x, y, place) {
    const { verdict, selection, theme, hovered, opened, tags } = this.scope, side = this.side;
    const faded = selection.size > 0 && !selection.has(index), clean = verdict.clean[index];
    context.globalAlpha = faded ? 0.35 : 1;
    sheet.square(context, index, x + 1, y + 1, side - 2);
    const box = [x + 1, y + 1, side - 2, side - 2];
    border(context, box, clean ? theme.clean : theme.rejected, 2, clean ? [] : [4, 3]);
    const marked = selection.has(index) || index === opened;
    if (marked || index === hovered) this.ring(context, theme.text, x, y, marked ? 2.5 : 1.2);
    if (this.focused && place === this.cursor) this.ring(context, theme.student, x - 1, y - 1, 2);
    if (verdict.flagged[index]) this.flag(context, theme, x, y);
    const dot = (colour, nth) => disc(context, x + 7 + 9 * nth, y + side - 7, 4, colour);
    tags.coloursOf(sheet, index).slice(0, 4).forEach(dot);
    if (side >= 40) this.caption(context, sheet, index, x, y, theme);
    context.globalAlpha = 1;
  }

  ring(context, colour, x, y, width) {
    border(context, [x - 1.5, y - 1.5, this.side + 3, this.side + 3], colour, width);
  }

  flag(context, theme, x, y) {
    context.fillStyle = theme.rejected;
    context.fillRect(x + this.side - 15, y + 1, 14, 15);
    context.fillStyle = theme.background;
    context.fillText("⚑", x + this.side - 8, y + 13);
  }

  caption(context, frame, index, x, y, theme) {
    const name = this.scope.className(frame.label[index]);
    const fits = (text) => context.measureText(text).width <= this.side + GAP - 2;
    let text = `${name} ${Math.round(100 * frame.confidence[index])}%`;
    if (!fits(text)) text = name;
    for (let end = name.length - 1; end > 0 && !fits(text); end -= 1) text = name.slice(0, end) + "…";
    context.fillStyle = theme.text;
    context.fillText(text, x + this.side / 2, y + this.side + 12);
  }
}
