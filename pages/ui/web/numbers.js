// Numbers in words.

export const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

// Shares: 0.123 -> "12.3 %" and "12 %".
export const percent = (value, digits = 1) => (100 * value).toFixed(digits) + " %";
export const whole = (value) => Math.round(100 * value) + " %";

// Three digits; what is tiny as a power of ten.
export const brief = (value) =>
  value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(1) : value.toPrecision(3);

// Three digits, whole numbers as they are.
export function short(value) {
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

// 12345 -> "12,345"
export const grouped = (count) => count.toLocaleString("en");

// Percentage points: 0.012 -> "1.2", a difference of so much -> "+1.2".
export const points = (share) => (share < 0 ? "−" : "") + Math.abs(100 * share).toFixed(1);
export const difference = (share) => (share > 0 ? "+" : "") + points(share);

export function duration(seconds) {
  if (seconds == null) return "";
  const s = Math.round(seconds);
  if (s < 60) return s + " s";
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

// No finer than the guess that it is.
export function roughly(seconds) {
  if (seconds < 90) return Math.max(10, 10 * Math.round(seconds / 10)) + " s";
  return seconds < 5400 ? Math.round(seconds / 60) + " min" : (seconds / 3600).toFixed(1) + " h";
}

// How far a background job is.
export const progress = ({ message, share, left }) =>
  `${message}: ${whole(share)}` + (left == null ? "" : `, ${duration(left)} left`);
