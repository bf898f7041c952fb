/**
 * Draws the timeline with flame-chart-js, which gets only the visible rows.
 */
import {FlameChartContainer, FlameChartPlugin, TimeGridPlugin, TimeframeSelectorPlugin} from 'flame-chart-js';
import {stateColor} from './colors.js';

const BLOCK = 16;
const ROW = BLOCK + 1; // a line of flame-chart-js
const BUCKETS = 500; // of the overview

/** The rows of all tracks: one for a track's name, one for each depth. */
class Layout {
  constructor(tracks) {
    this.rows = [];
    for (const track of tracks) {
      track.head.level = this.rows.length;
      this.rows.push([track.head]);
      for (const slices of track.rows) {
        for (const slice of slices) slice.level = this.rows.length;
        this.rows.push(slices);
      }
    }
  }
}

/** A flame chart of many tracks, which clusters and draws only the visible rows. */
class TracksPlugin extends FlameChartPlugin {
  constructor(end) {
    super({data: end, name: 'tracks'});
    this.rows = [];
    this.shown = '';
    this.scrollTo = () => {};
  }

  parseData() {
    this.flatTree = [];
    this.min = 0;
    this.max = this.data || 1;
  }

  /** Make the clusters for the widest view; `render` splits them as the view narrows. */
  initData() {
    const {zoom} = this.renderEngine;
    this.renderEngine.zoom = this.renderEngine.getInitialZoom();
    super.initData();
    this.renderEngine.zoom = zoom;
  }

  setPositionY(y) {
    this.scrollTo(y);
  }

  place(layout) {
    this.rows = layout.rows;
    this.shown = '';
  }

  render() {
    const first = Math.floor(this.positionY / ROW);
    const last = Math.ceil((this.positionY + this.renderEngine.height) / ROW);
    const shown = `${first} ${last} ${this.renderEngine.width}`;
    if (shown !== this.shown) {
      this.shown = shown;
      this.flatTree = this.rows.slice(first, last + 1).flat();
      this.initData();
    }
    super.render();
  }
}

/**
 * The chart in its scrolling element.
 *
 * onSelect: called with the slice that was clicked; onHover: with a slice (or null) and the mouse's place.
 */
export class Chart {
  constructor(scroller, trace, {onSelect, onHover}) {
    this.scroller = scroller;
    this.spacer = scroller.querySelector('.spacer');
    this.canvas = scroller.querySelector('canvas');
    this.tracks = new TracksPlugin(trace.end);
    this.tracks.scrollTo = (y) => { scroller.scrollTop = y; };
    this.overview = new TimeframeSelectorPlugin({
      timeseries: overview(trace), settings: {styles: {timeframeSelectorPlugin: {height: 48}}},
    });
    this.grid = new TimeGridPlugin();
    this.fit();
    this.container = new FlameChartContainer({
      canvas: this.canvas,
      plugins: [this.overview, this.grid, this.tracks],
      settings: {
        options: {
          tooltip: (region, _, mouse) => onHover(region?.data ?? null, mouse),
          hotkeys: {scrollSpeed: 0.5, zoomSpeed: 0.001, fastMultiplayer: 5, active: true},
        },
        styles: {main: {blockHeight: BLOCK, font: '11px system-ui, sans-serif'}},
      },
    });
    this.tracks.on('select', ({node}) => onSelect(node));
    this.listen();
  }

  listen() {
    const {scroller} = this;
    scroller.addEventListener('scroll', () => {
      this.tracks.positionY = scroller.scrollTop;
      this.container.render();
    });
    // the wheel scrolls, as on other pages; with Ctrl or sideways flame-chart-js zooms and pans
    scroller.addEventListener('wheel', (event) => {
      if (!event.ctrlKey && !event.metaKey && !event.deltaX) event.stopPropagation();
    }, {capture: true, passive: true});
    new ResizeObserver(() => {
      this.fit();
      this.container.resize(scroller.clientWidth, scroller.clientHeight);
    }).observe(scroller);
  }

  fit() {
    if (!this.container) {
      this.canvas.width = this.scroller.clientWidth;
      this.canvas.height = this.scroller.clientHeight;
    }
  }

  /** Return the height above the tracks, in pixels. */
  get above() {
    return this.overview.height + this.grid.height;
  }

  show(tracks) {
    const layout = new Layout(tracks);
    this.tracks.place(layout);
    this.spacer.style.height = `${layout.rows.length * ROW + this.above + ROW}px`;
    this.container.render();
  }

  /** Draw anew after the colours of frames have changed. */
  repaint() {
    this.tracks.shown = '';
    this.container.render();
  }

  /** Scroll to a slice and select it; zoom to it, with some time around it, where it is not visible. */
  reveal(slice) {
    const engine = this.container.renderEngine;
    const from = engine.positionX;
    const to = from + engine.getRealView();
    const tiny = slice.duration * engine.zoom < 3;
    if (slice.start < from || slice.end > to || tiny) {
      const around = Math.max(slice.duration * 4, 0.001);
      const start = Math.max(0, slice.start - around / 2);
      this.container.setZoom(start, Math.min(this.tracks.max, slice.end + around / 2));
    }
    this.tracks.selectedRegion = {type: 'node', data: slice};
    this.scroller.scrollTop = Math.max(0, (slice.level - slice.depth - 2) * ROW);
    this.container.render();
  }

  /** Scroll to a track, and zoom to its whole time. */
  revealTrack(track) {
    this.container.setZoom(track.start, Math.max(track.end, track.start + 1e-6));
    this.tracks.selectedRegion = {type: 'node', data: track.head};
    this.scroller.scrollTop = track.head.level * ROW;
    this.container.render();
  }

  hotkeys(active) {
    this.container.hotkeys(active);
  }
}

/** Return the mean number of running tracks in each part of the trace. */
function overview({tracks, end}) {
  const width = (end || 1) / BUCKETS;
  const sums = new Float64Array(BUCKETS + 1);
  for (const track of tracks) {
    for (const {start, end: stop, frame} of track.rows.flat()) {
      if (!frame.state || frame.name !== 'running') continue;
      for (let at = Math.floor(start / width); at * width < stop && at < BUCKETS; at++) {
        sums[at] += Math.min(stop, (at + 1) * width) - Math.max(start, at * width);
      }
    }
  }
  const points = Array.from({length: BUCKETS}, (_, at) => [at * width, sums[at] / width]);
  points.push([end || 1, 0]);
  const style = {fillColor: stateColor('running'), lineColor: stateColor('running'), type: 'bar'};
  return [{name: 'running', units: ' tracks', points, min: 0, style}];
}
