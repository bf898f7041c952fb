/**
 * The colours: one for each state (with the names of fgtrace/_model/states.py), pale ones for frames.
 */
const STATES = {
  'running': '#4caf50',
  'runnable': '#c5d86d',
  'GIL wait': '#e57373',
  'sleep': '#b0bec5',
  'I/O wait': '#64b5f6',
  'select': '#cfd8dc',
  'pool wait': '#ff8a65',
  'lock wait': '#f06292',
  'event wait': '#ba68c8',
  'queue wait': '#ffb74d',
  'task wait': '#9fa8da',
  'thread wait': '#4db6ac',
  'subprocess wait': '#a1887f',
  'future wait': '#ce93d8',
  'idle': '#eceff1',
};
const CATEGORIES = {native: '#ffe0b2', gap: '#ef9a9a', gc: '#bcaaa4', elided: '#e0e0e0', task: '#dde5f0', track: '#eceff4'};
const MODULES = ['#fff3c4', '#ffe8cc', '#fde2e4', '#e2ece9', '#dfe7fd', '#f0efeb', '#e9f5db', '#ede7f6'];
export const FOUND = '#ffea00';

export function stateColor(name) {
  return STATES[name] ?? '#d7ccc8';
}

/** Return a frame's colour, which depends on its module: a library has one colour. */
export function frameColor(name, category) {
  if (CATEGORIES[category]) return CATEGORIES[category];
  let hash = 0;
  for (const letter of name.split('.', 1)[0]) hash = (hash * 31 + letter.codePointAt(0)) % 65521;
  return MODULES[hash % MODULES.length];
}
