// The images on one canvas that draws only what is in sight, however many there are.

const CAPTION = 14;
const GAP = 6;
const SORTS = { loss: "loss", confidence: "confidence", class: "class", posterior: "posterior", latent: "latent" };
const SHOWS = { all: "all", selected: "selected", clean: "clean", rejected: "rejected" };

class Grid {
  constructor(panel, scope) {
    this.scope = scope;
    this.panel = panel;
    this.port = panel.querySelector(".scope-port");
    this.space = panel.querySelector(".scope-space");
    this.canvas = panel.querySelector("canvas");
    this.empty = panel.querySelector(".scope-empty");
    this.side = 44;
    this.order = [];
    this.cursor = 0; // a place in the order, under the keyboard
    this.port.addEventListener("scroll", () => this.draw());
    this.port.addEventListener("click", (event) => this.click(event));
    this.port.addEventListener("dblclick", (event) => this.open(this.placeAt(event)));
    this.port.addEventListener("pointermove", (event) => this.hover(event));
    this.port.addEventListener("pointerleave", () => scope.hover(null));
    this.port.addEventListener("keydown", (event) => this.key(event));
    this.port.addEventListener("focus", () => {
      this.focused = true;
      scope.refresh();
    });
    this.port.addEventListener("blur", () => {
      this.focused = false;
      scope.refresh();
    });
    [this.sort, this.show] = panel.querySelectorAll("select");
    choices(this.sort, SORTS, (sort) => scope.look({ sort }));
    choices(this.show, SHOWS, (show) => scope.look({ show }));
    panel
      .querySelectorAll("[data-size]")
      .forEach((button) => button.addEventListener("click", () => this.resize(Number(button.dataset.size))));
  }

  // --- places ---

  get columns() {
    return Math.max(1, Math.floor(this.port.clientWidth / (this.side + GAP)));
  }
  get step() {
    return this.port.clientWidth / this.columns;
  } // from tile to tile
  get pitch() {
    return this.side + GAP + (this.side >= 40 ? CAPTION : 0);
  }

  // The order is made again only when something it depends on has changed.
  arrange() {
    const { frame, sort, show, selection, verdict } = this.scope;
    const picky = show === "all" ? "" : show === "selected" ? this.scope.selections : this.scope.verdicts;
    const key = [frame.source, frame.step, sort, show, picky].join("|");
    if (key === this.arranged) return;
    this.arranged = key;
    const keep = {
      all: () => true,
      clean: (index) => verdict.clean[index],
      rejected: (index) => !verdict.clean[index],
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

  open(place) {
    if (place != null) this.scope.open(this.order[place], "right");
  }

  hover(event) {
    const place = this.placeAt(event);
    const index = place == null ? null : this.order[place];
    this.port.title = index == null ? "" : this.scope.words(index);
    this.scope.hover(index);
  }

  key(event) {
    const moves = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -this.columns,
      ArrowDown: this.columns,
      Home: -1e9,
      End: 1e9,
      PageUp: -this.columns * 4,
      PageDown: this.columns * 4,
    };
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
    const top = Math.floor(place / this.columns) * this.pitch;
    const bottom = top + this.pitch;
    if (top < this.port.scrollTop) this.port.scrollTop = top;
    else if (bottom > this.port.scrollTop + this.port.clientHeight)
      this.port.scrollTop = bottom - this.port.clientHeight;
  }

  resize(factor) {
    this.side = clamp(Math.round(this.side * factor), 20, 160);
    this.scope.refresh();
  }

  // --- drawing ---

  draw() {
    const { frame, theme } = this.scope;
    const { context, height } = sharp(this.canvas);
    if (frame) this.arrange();
    this.head(frame);
    if (!frame) return;
    const total = Math.ceil(this.order.length / this.columns) * this.pitch;
    this.space.style.height = Math.max(0, total - height) + "px";
    context.imageSmoothingEnabled = this.side < frame.width;
    context.font = `11px ${theme.font}`;
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    const { step } = this;
    const top = this.port.scrollTop;
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
    this.panel.querySelector("h4 span").textContent = frame
      ? `${this.order.length} of ${frame.count}`
      : steps.length
        ? "loading…"
        : "";
    this.empty.hidden = Boolean(frame);
    this.empty.textContent = this.scope.nothing();
    this.sort.querySelector("[value=latent]").textContent = source === "probes" ? "latent" : "order drawn";
    this.sort.querySelector("[value=posterior]").disabled = Boolean(frame) && !frame.posterior;
    Object.assign(this.sort, { value: sort });
    Object.assign(this.show, { value: show });
  }

  tile(context, frame, index, x, y, place) {
    const { verdict, selection, theme, hovered, opened, tags } = this.scope;
    const side = this.side;
    const faded = selection.size > 0 && !selection.has(index);
    const clean = verdict.clean[index];
    context.globalAlpha = faded ? 0.35 : 1;
    frame.paint(context, index, x + 1, y + 1, side - 2);
    context.strokeStyle = clean ? theme.clean : theme.rejected;
    context.lineWidth = 2;
    context.setLineDash(clean ? [] : [4, 3]);
    context.strokeRect(x + 1, y + 1, side - 2, side - 2);
    context.setLineDash([]);
    if (selection.has(index) || index === hovered || index === opened) {
      this.ring(context, theme.text, x, y, selection.has(index) || index === opened ? 2.5 : 1.2);
    }
    if (this.focused && place === this.cursor) this.ring(context, theme.student, x - 1, y - 1, 2);
    if (verdict.flagged[index]) this.flag(context, theme, x, y);
    this.dots(context, tags.coloursOf(frame, index), x, y);
    if (side >= 40) this.caption(context, frame, index, x, y, theme);
    context.globalAlpha = 1;
  }

  ring(context, colour, x, y, width) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.strokeRect(x - 1.5, y - 1.5, this.side + 3, this.side + 3);
  }

  flag(context, theme, x, y) {
    context.fillStyle = theme.rejected;
    context.fillRect(x + this.side - 15, y + 1, 14, 15);
    context.fillStyle = theme.background;
    context.fillText("⚑", x + this.side - 8, y + 13);
  }

  dots(context, colours, x, y) {
    colours.slice(0, 4).forEach((colour, nth) => {
      context.fillStyle = colour;
      context.beginPath();
      context.arc(x + 7 + 9 * nth, y + this.side - 7, 4, 0, 7);
      context.fill();
    });
  }

  caption(context, frame, index, x, y, theme) {
    const name = this.scope.className(frame.label[index]);
    const sure = Math.round(100 * frame.confidence[index]) + "%";
    const middle = x + this.side / 2;
    const room = this.side + GAP - 2;
    context.fillStyle = theme.text;
    const both = name + " " + sure;
    const text = context.measureText(both).width <= room ? both : shorten(context, name, room);
    context.fillText(text, middle, y + this.side + 12);
  }
}

// As much of a text as fits, with an ellipsis.
function shorten(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let end = text.length;
  while (end > 1 && context.measureText(text.slice(0, end) + "…").width > room) end -= 1;
  return text.slice(0, end) + "…";
}
