/** Formats times and makes elements. All text goes through textContent: names in a trace are data. */

export function time(ms) {
  if (ms >= 1000) return `${(ms / 1000).toPrecision(4)} s`;
  if (ms >= 1) return `${ms.toPrecision(4)} ms`;
  if (ms >= 0.001) return `${(ms * 1000).toPrecision(4)} µs`;
  return `${Math.round(ms * 1e6)} ns`;
}

export function element(tag, text = '', className = '') {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** Return a track's states and times, the longest first. */
export function totals(track) {
  return [...track.totals].sort((a, b) => b[1] - a[1]);
}
