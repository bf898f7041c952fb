/**
 * The page: reads its trace, and connects the chart, the list and the search.
 */
import {Chart} from './chart.js';
import {stateColor} from './colors.js';
import {read} from './data.js';
import {Find} from './find.js';
import {element, time, totals} from './format.js';
import {TrackList} from './list.js';

const at = (id) => document.getElementById(id);

/** Return the tracks whose name contains the text, in the chosen order. */
function chosen(trace, text, order) {
  const wanted = text.trim().toLowerCase();
  const fitting = trace.tracks.filter((track) => track.label.toLowerCase().includes(wanted));
  if (order === 'longest') return fitting.sort((a, b) => b.life - a.life);
  if (!order.startsWith('state:')) return fitting;
  const spent = (track) => track.totals.get(order.slice(6)) ?? 0;
  return fitting.filter((track) => spent(track) > 0).sort((a, b) => spent(b) - spent(a));
}

function fillOrders(trace) {
  const states = new Map();
  for (const track of trace.tracks) {
    for (const [state, spent] of track.totals) states.set(state, (states.get(state) ?? 0) + spent);
  }
  for (const [state, spent] of [...states].sort((a, b) => b[1] - a[1])) {
    const option = element('option', `most ${state}`);
    option.value = `state:${state}`;
    at('order').append(option);
    const key = element('span', `${state} ${time(spent)}`, 'key');
    key.style.borderColor = stateColor(state);
    at('keys').append(key);
  }
}

function summary(trace) {
  const said = trace.metadata.fgtrace ?? {};
  const facts = [`${trace.tracks.length} tracks`, `${trace.slices} slices`, time(trace.end)];
  if (said.started) facts.push(`from ${said.started}`);
  return facts.join(', ');
}

/** Return the facts about a slice, as rows of name and value. */
function facts(slice) {
  const {frame, track} = slice;
  const rows = [['track', track.label], ['start', time(slice.start)], ['duration', time(slice.duration)]];
  if (frame.file) rows.push(['at', `${frame.file}:${frame.line}`]);
  for (const [key, value] of frame.args) {
    rows.push([key, typeof value === 'object' ? JSON.stringify(value) : String(value)]);
  }
  return slice === track.head ? rows.slice(1).concat(totals(track).map(([state, ms]) => [state, time(ms)])) : rows;
}

function describe(slice) {
  const table = element('dl');
  for (const [key, value] of slice ? facts(slice) : []) table.append(element('dt', key), element('dd', value));
  at('detail').replaceChildren(element('b', slice?.name ?? 'Click on a slice.'), table);
}

function hint(slice, mouse) {
  const box = at('hint');
  box.hidden = !slice;
  if (!slice) return;
  const {frame} = slice;
  const lines = [slice.name, time(slice.duration), ...(frame.file ? [`${frame.file}:${frame.line}`] : [])];
  box.replaceChildren(...lines.map((line) => element('div', line)));
  const {left, top, right, bottom} = at('chart').getBoundingClientRect();
  box.style.left = `${Math.max(left, Math.min(left + mouse.x + 14, right - box.offsetWidth - 20))}px`;
  box.style.top = `${Math.min(top + mouse.y + 14, bottom - box.offsetHeight - 4)}px`;
}

function start(trace) {
  const chart = new Chart(at('chart'), trace, {onSelect: describe, onHover: hint});
  const list = new TrackList(at('tracks'), (track) => { chart.revealTrack(track); describe(track.head); });
  const find = new Find(trace);
  let tracks = trace.tracks;

  const count = (found) => {
    const place = find.at < 0 ? '' : `${find.at + 1} of `;
    at('count').textContent = at('find').value.trim() ? `${place}${found} found` : '';
  };
  const search = () => {
    count(find.search(at('find').value, tracks));
    chart.repaint();
  };
  const arrange = () => {
    tracks = chosen(trace, at('filter').value, at('order').value);
    at('shown').textContent = `${tracks.length} of ${trace.tracks.length}`;
    list.show(tracks);
    chart.show(tracks);
    search();
  };
  const step = (by) => {
    const slice = find.step(by);
    count(find.found.length);
    if (!slice) return;
    chart.reveal(slice);
    describe(slice);
  };

  at('find').addEventListener('input', search);
  at('find').addEventListener('keydown', (event) => {
    if (event.key === 'Enter') step(event.shiftKey ? -1 : 1);
  });
  at('next').addEventListener('click', () => step(1));
  at('previous').addEventListener('click', () => step(-1));
  at('filter').addEventListener('input', arrange);
  at('order').addEventListener('change', arrange);
  for (const id of ['find', 'filter', 'order']) {
    at(id).addEventListener('focus', () => chart.hotkeys(false));
    at(id).addEventListener('blur', () => chart.hotkeys(true));
  }
  fillOrders(trace);
  at('summary').textContent = summary(trace);
  describe(null);
  arrange();
}

async function main() {
  try {
    start(await read(at('trace').textContent));
    document.body.dataset.ready = 'yes';
  } catch (error) {
    at('summary').textContent = `This page cannot be shown: ${error}`;
    throw error;
  }
}

main();
