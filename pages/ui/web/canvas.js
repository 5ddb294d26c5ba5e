// Drawing on canvases.

// A canvas as large as its box, sharp on every screen, empty: its context in CSS pixels.
export function sharp(canvas) {
  const width = canvas.clientWidth, height = canvas.clientHeight;
  const ratio = window.devicePixelRatio || 1;
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

// A line through points.
export function stroke(context, points, color, width = 1, dash = []) {
  Object.assign(context, { strokeStyle: color, lineWidth: width });
  context.setLineDash(dash);
  context.beginPath();
  points.forEach(([x, y]) => context.lineTo(x, y));
  context.stroke();
  context.setLineDash([]);
}

// A line around a box.
export function border(context, [x, y, width, height], color, thick, dash = []) {
  Object.assign(context, { strokeStyle: color, lineWidth: thick });
  context.setLineDash(dash);
  context.strokeRect(x, y, width, height);
  context.setLineDash([]);
}

// A disc.
export function disc(context, x, y, radius, color) {
  context.fillStyle = color;
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  context.fill();
}
