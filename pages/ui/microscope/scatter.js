// The teacher's features in the plane: real and synthetic. Wheel zooms, a drag selects by lasso or rectangle, or pans.

import { sharp, stroke } from "../web/canvas.js";
import { clamp } from "../web/numbers.js";
import { classColour, rampColour } from "../web/theme.js";
import { enclosed, howTo } from "./samples.js";

const RADIUS = 4, LEVELS = 24, STRETCH = 1.7;
const TOOLS = 34; // pixels on the right that the buttons need

export class Scatter {
  constructor(panel, scope) {
    Object.assign(this, { scope, tool: "lasso", zoom: 1, shift: [0, 0] });
    this.canvas = panel.querySelector("canvas.scope-base");
    this.over = panel.querySelector("canvas.scope-over"); // hover and lasso, so that the points need not be drawn again
    this.tip = panel.querySelector(".scope-thumb");
    const listen = (name, act, options) => this.over.addEventListener(name, act, options);
    listen("pointerdown", (event) => this.press(event));
    listen("pointermove", (event) => this.move(event));
    listen("pointerup", (event) => this.release(event));
    listen("pointerleave", () => this.leave());
    listen("dblclick", () => this.home());
    listen("keydown", (event) => this.key(event));
    listen("wheel", (event) => this.wheel(event), { passive: false });
  }

  home() { this.zoom = 1; this.shift = [0, 0]; this.scope.refresh(); }

  // --- coordinates ---

  // Where the layout's bounds lie on the canvas: as large as fits, then zoomed and shifted. One axis is stretched
  // against the other by at most STRETCH, so that distances stay comparable.
  frameOf([left, right, bottom, top]) {
    const width = this.canvas.clientWidth - TOOLS, height = this.canvas.clientHeight;
    const [across, down] = [width / (right - left), height / (top - bottom)];
    const least = STRETCH * Math.min(across, down);
    const [unitX, unitY] = [across, down].map((unit) => Math.min(unit, least) * this.zoom);
    const x = width / 2 + this.shift[0] - (unitX * (left + right)) / 2;
    const y = height / 2 + this.shift[1] + (unitY * (bottom + top)) / 2;
    return { unitX, unitY, x, y };
  }

  project(positions, { unitX, unitY, x, y }) {
    const points = new Float32Array(positions.length);
    for (let i = 0; i < positions.length; i += 2) {
      points[i] = x + unitX * positions[i];
      points[i + 1] = y - unitY * positions[i + 1];
    }
    return points;
  }

  nearest(x, y, points, within = 9) {
    let best = null;
    let least = within * within;
    for (let i = 0; points && i < points.length; i += 2) {
      const distance = (points[i] - x) ** 2 + (points[i + 1] - y) ** 2;
      if (distance < least) [best, least] = [i / 2, distance];
    }
    return best;
  }

  // --- hands ---

  press(event) {
    if (event.button > 1 || !this.points) return;
    this.over.focus({ preventScroll: true });
    this.over.setPointerCapture(event.pointerId);
    const tool = event.button === 1 || event.altKey ? "pan" : this.tool;
    const start = [event.offsetX, event.offsetY], before = this.scope.selection.indices();
    this.drag = { tool, start, path: [start], how: howTo(event), before, shift: this.shift };
    this.hide();
  }

  move(event) {
    const here = [event.offsetX, event.offsetY], drag = this.drag;
    if (!drag) return this.hover(...here);
    drag.moved = drag.moved || Math.hypot(here[0] - drag.start[0], here[1] - drag.start[1]) > 3;
    if (!drag.moved) return;
    if (drag.tool === "pan") {
      this.shift = drag.shift.map((value, axis) => value + here[axis] - drag.start[axis]);
      return this.scope.refresh();
    }
    if (drag.tool === "lasso") drag.path.push(here);
    else drag.path = [drag.start, [here[0], drag.start[1]], here, [drag.start[0], here[1]]];
    this.choose(drag);
  }

  choose({ path, how, before }) { this.scope.selection.drag(enclosed(this.points, path), how, before); }

  release(event) {
    const drag = this.drag;
    this.drag = null;
    this.overlay();
    if (!drag || drag.moved || event.button === 1) return;
    const index = this.nearest(event.offsetX, event.offsetY, this.points);
    if (index == null) return drag.how === "replace" && this.scope.selection.clear();
    this.scope.selection.take([index], drag.how);
    if (drag.how === "replace") this.scope.open(index, "left");
  }

  wheel(event) {
    if (!this.points) return;
    event.preventDefault();
    this.zoomBy(Math.exp(-event.deltaY * 0.0015), event.offsetX, event.offsetY);
  }

  zoomBy(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const zoom = clamp(this.zoom * factor, 0.5, 60), ratio = zoom / this.zoom;
    const middle = [(this.canvas.clientWidth - TOOLS) / 2, this.canvas.clientHeight / 2];
    const from = [x - middle[0], y - middle[1]];
    this.shift = this.shift.map((value, axis) => from[axis] - ratio * (from[axis] - value)); // what lies there stays
    this.zoom = zoom;
    this.hide();
    this.scope.refresh();
  }

  key(event) {
    const pans = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    if (event.key in pans) this.shift = this.shift.map((value, axis) => value + pans[event.key][axis]);
    else if (event.key === "+" || event.key === "=") return this.zoomBy(1.25);
    else if (event.key === "-") return this.zoomBy(0.8);
    else if (event.key === "0") this.home();
    else return;
    event.preventDefault();
    this.scope.refresh();
  }

  hover(x, y) {
    const index = this.nearest(x, y, this.points);
    this.overReal = index == null ? this.nearest(x, y, this.realPoints, 6) : null;
    this.scope.hover(index);
    this.overlay();
    if (index == null && this.overReal == null) this.hide();
    else this.show(index ?? this.overReal, index == null, x, y);
  }

  leave() { this.hide(); if (!this.drag) this.scope.hover(null); }
  hide() { this.tip.hidden = true; }

  show(index, isReal, x, y) {
    const { frame, real } = this.scope, canvas = this.tip.querySelector("canvas");
    const context = canvas.getContext("2d");
    Object.assign(canvas, { width: 72, height: 72 });
    context.imageSmoothingEnabled = false;
    (isReal ? real : frame).square(context, index, 0, 0, 72);
    this.tip.querySelector("span").textContent = isReal ? this.scope.realWords(index) : this.scope.words(index);
    this.tip.hidden = false;
    const across = x + this.tip.offsetWidth + 24 > this.canvas.clientWidth ? x - this.tip.offsetWidth - 12 : x + 14;
    const down = clamp(y - 36, 0, Math.max(0, this.canvas.clientHeight - this.tip.offsetHeight));
    this.tip.style.transform = `translate(${Math.max(0, across)}px, ${down}px)`;
  }

  // --- drawing ---

  draw() {
    const { scope } = this, { frame, theme } = scope, { context } = sharp(this.canvas);
    const layout = scope.layout, places = frame && scope.places(frame);
    this.points = this.realPoints = null;
    if (!layout?.bounds || !places) return this.overlay();
    const place = this.frameOf(layout.bounds);
    this.points = this.project(places, place);
    if (layout.real) this.realPoints = this.project(layout.real, place);
    if (layout.real) this.realDots(context, theme);
    this.samples(context, frame);
    this.overlay();
  }

  // Small and pale; in the colour of their class when that is what colours say.
  realDots(context, theme) {
    const { real, colour, selection } = this.scope, points = this.realPoints;
    const hue = (index) => (colour === "class" && real ? classColour(theme, real.label[index]) : theme.real);
    context.globalAlpha = selection.size ? 0.2 : 0.45;
    for (const [fillStyle, members] of grouped(points.length / 2, hue)) {
      Object.assign(context, { fillStyle }).beginPath();
      for (const index of members) circle(context, points[2 * index], points[2 * index + 1], 2.2);
      context.fill();
    }
    context.globalAlpha = 1;
  }

  // One path for all points of a colour and shape; rejected ones first, selected ones last.
  samples(context, frame) {
    const { verdict, selection } = this.scope, colour = this.colours(frame);
    const inside = this.scope.mark === "boundary" ? this.scope.inside(frame) : null;
    const faded = (index) => selection.size > 0 && !selection.has(index);
    const front = (index) => (faded(index) ? 0 : 2) + (verdict.clean[index] ? 1 : 0);
    const shape = inside
      ? (index) => (inside[index] ? "star" : "cross") : (index) => (verdict.clean[index] ? "disc" : "ring");
    const groups = grouped(frame.count, (index) => [front(index), shape(index), colour(index)].join("|"));
    for (const [, members] of [...groups].sort(([, [a]], [, [b]]) => front(a) - front(b))) {
      const [one] = members;
      this.group(context, { members, shape: SHAPES[shape(one)], colour: colour(one), faded: faded(one) });
    }
    context.globalAlpha = 1;
  }

  group(context, { members, shape: { filled, path }, colour, faded }) {
    const edge = faded ? "transparent" : this.scope.theme.panel;
    context.globalAlpha = faded ? 0.22 : 0.9;
    context.beginPath();
    for (const index of members) path(context, this.points[2 * index], this.points[2 * index + 1]);
    context.fillStyle = colour;
    if (filled) context.fill();
    Object.assign(context, { strokeStyle: filled ? edge : colour, lineWidth: filled ? 0.8 : 1.7 });
    context.stroke();
  }

  colours(frame) {
    const { theme, verdict, tags } = this.scope;
    const level = (share) => rampColour(theme, Math.round(share * LEVELS) / LEVELS);
    return {
      verdict: (index) => (verdict.clean[index] ? theme.clean : theme.rejected),
      class: (index) => classColour(theme, frame.label[index]), loss: (index) => level(Math.sqrt(frame.scaled[index])),
      posterior: (index) => level(frame.posterior ? frame.posterior[index] : 1),
      tag: (index) => tags.colourOf(frame, index) || theme.muted,
    }[this.scope.colour];
  }

  overlay() {
    const { theme } = this.scope, { context } = sharp(this.over);
    if (!this.points || !theme) return;
    const ring = (points, index, radius) => {
      Object.assign(context, { strokeStyle: theme.text, lineWidth: 2 });
      context.beginPath();
      context.arc(points[2 * index], points[2 * index + 1], radius, 0, 7);
      context.stroke();
    };
    const { hovered, opened } = this.scope;
    for (const index of new Set([hovered, opened])) if (index != null) ring(this.points, index, 8);
    if (this.overReal != null && this.realPoints) ring(this.realPoints, this.overReal, 6);
    if (!this.drag?.moved || this.drag.tool === "pan") return;
    stroke(context, [...this.drag.path, this.drag.start], theme.student, 1.5);
    Object.assign(context, { fillStyle: theme.student, globalAlpha: 0.12 });
    context.fill();
    context.globalAlpha = 1;
  }
}

// The indices up to `count` by a key of each.
function grouped(count, key) {
  const groups = new Map();
  for (let index = 0; index < count; index += 1) {
    const found = key(index);
    if (groups.has(found)) groups.get(found).push(index);
    else groups.set(found, [index]);
  }
  return groups;
}

// Paths around a point.
const circle = (context, x, y, radius) => { context.moveTo(x + radius, y); context.arc(x, y, radius, 0, 7); };
const lines = (corners) => (context, x, y) =>
  corners.forEach(([dx, dy, away]) => context[away ? "moveTo" : "lineTo"](x + dx, y + dy));
const ARM = RADIUS - 0.5;
const STAR = Array.from({ length: 11 }, (_, corner) => {
  const radius = (corner % 2 ? 0.45 : 1) * (RADIUS + 2), angle = (corner * Math.PI) / 5 - Math.PI / 2;
  return [radius * Math.cos(angle), radius * Math.sin(angle), corner === 0];
});
const SHAPES = {
  disc: { filled: true, path: (context, x, y) => circle(context, x, y, RADIUS) },
  ring: { filled: false, path: (context, x, y) => circle(context, x, y, RADIUS - 0.6) },
  cross: { filled: false, path: lines([[-ARM, -ARM, true], [ARM, ARM], [-ARM, ARM, true], [ARM, -ARM]]) },
  star: { filled: true, path: lines(STAR) },
};
