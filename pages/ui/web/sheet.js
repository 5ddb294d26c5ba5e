// Sheets of images as dfkd_core/store/sheets.py packs them, and how their images are shown.

import { element } from "./dom.js";

export const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

// A column of numbers.
export function typedArray({ type, data }) {
  return new { float32: Float32Array, int16: Int16Array, uint8: Uint8Array }[type](bytesOf(data).buffer);
}

// Places of a column that hold `value`.
export function placesOf(column, value) {
  const found = [];
  column.forEach((one, index) => { if (one === value) found.push(index); });
  return found;
}

// Images in rows, and columns of one number an image as properties of their names.
export class Sheet {
  constructor({ png, columns = {}, ...about }) {
    Object.assign(this, about);
    for (const [name, column] of Object.entries(columns)) this[name] = typedArray(column);
    this.bytes = png.length;
    this.image = new Image();
    this.image.src = URL.createObjectURL(new Blob([bytesOf(png)], { type: "image/png" }));
    this.ready = this.broken = false;
    this.decoded = this.image.decode().then(
      () => Object.assign(this, { ready: true }), () => Object.assign(this, { broken: true }),
    );
  }

  // Whether it was judged, and the step learned from all of it nevertheless.
  get unapplied() { return this.mixture?.applied === false; }

  // How many images lie in a row of the sheet.
  get across() { return Math.max(1, Math.floor(this.image.naturalWidth / this.width)); }

  // Draws image `index`.
  paint(context, index, x = 0, y = 0, width = this.width, height = this.height) {
    const { across } = this;
    const left = (index % across) * this.width, top = Math.floor(index / across) * this.height;
    context.drawImage(this.image, left, top, this.width, this.height, x, y, width, height);
  }

  // Image `index` as an element: a piece of the sheet, since of a hundred canvases each is a layer of the page, and all
  // are gone through for every frame. `kind`: a class of the style sheets; `words` for the ear.
  tile(index, kind = "", words = "") {
    const properties = words ? { title: words, role: "img", "aria-label": words } : {};
    const tile = element("span", { className: ("dfkd-image " + kind).trim(), ...properties });
    const cut = () => {
      const { across } = this;
      const down = Math.max(1, Math.floor(this.image.naturalHeight / this.height));
      const share = (place, of) => (of > 1 ? (100 * place) / (of - 1) : 0) + "%";
      const position = share(index % across, across) + " " + share(Math.floor(index / across), down);
      Object.assign(tile.style, {
        backgroundImage: `url(${this.image.src})`, backgroundSize: `${100 * across}% ${100 * down}%`,
        backgroundPosition: position,
      });
    };
    if (this.ready) cut();
    else this.decoded.then(() => this.ready && cut());
    return tile;
  }

  // Gives its memory back; nothing of it can be drawn any more.
  close() { URL.revokeObjectURL(this.image.src); }
}
