/**
 * The list of tracks with their times by state. Of ten thousand rows only the visible ones are in the document.
 */
import {stateColor} from './colors.js';
import {element, time, totals} from './format.js';

const HEIGHT = 34; // of a row, as in page.css

export class TrackList {
  constructor(scroller, onChoose) {
    this.scroller = scroller;
    this.inner = scroller.querySelector('.inner');
    this.onChoose = onChoose;
    this.tracks = [];
    scroller.addEventListener('scroll', () => this.draw());
    new ResizeObserver(() => this.draw()).observe(scroller);
  }

  show(tracks) {
    this.tracks = tracks;
    this.longest = tracks.reduce((most, track) => Math.max(most, track.life), 0);
    this.inner.style.height = `${tracks.length * HEIGHT}px`;
    this.scroller.scrollTop = 0;
    this.draw();
  }

  draw() {
    const first = Math.floor(this.scroller.scrollTop / HEIGHT);
    const last = Math.min(this.tracks.length, first + Math.ceil(this.scroller.clientHeight / HEIGHT) + 1);
    const rows = this.tracks.slice(first, last).map((track, place) => this.row(track, first + place));
    this.inner.replaceChildren(...rows);
  }

  row(track, place) {
    const row = element('div', '', 'track');
    row.style.top = `${place * HEIGHT}px`;
    const name = element('span', '\u00a0\u00a0'.repeat(Math.min(track.level, 8)) + track.name, 'name');
    row.append(name, element('span', time(track.life), 'life'), this.bar(track));
    row.title = [track.label, ...totals(track).map(([state, spent]) => `${state}: ${time(spent)}`)].join('\n');
    row.addEventListener('click', () => this.onChoose(track));
    return row;
  }

  bar(track) {
    const bar = element('span', '', 'bar');
    bar.style.width = `${this.longest ? (100 * track.life) / this.longest : 0}%`;
    for (const [state, spent] of totals(track)) {
      const part = element('i');
      part.style.background = stateColor(state);
      part.style.flexGrow = spent;
      bar.append(part);
    }
    return bar;
  }
}
