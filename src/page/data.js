/**
 * Reads the trace in the page, which src/fgtrace/_formats/write/html.py wrote, as tracks of slices.
 *
 * Base64 of gzip of records, each [u32 kind, u32 bytes, payload, padding to 8 bytes], little-endian:
 * HEAD and FRAMES are JSON, SLICES are columns.
 */
import {stateColor, frameColor} from './colors.js';

const HEAD = 1;
const FRAMES = 2;
const SLICES = 3;
const NS = 1e-6; // of a millisecond

/** A frame, shared by all its slices: name, place, arguments and colour. */
export class Frame {
  constructor([name, category, file, line, args]) {
    Object.assign(this, {name, category, file, line, args});
    this.state = category === 'state';
    this.plain = this.state ? stateColor(name) : frameColor(name, category);
    this.color = this.plain;
  }
}

/** A slice, in ms. It is both a node and the node's source for flame-chart-js, which has two objects. */
export class Slice {
  constructor(track, frame, start, duration, depth) {
    this.track = track;
    this.frame = frame;
    this.start = start;
    this.duration = duration;
    this.depth = depth;
    this.level = depth; // the row in which Layout draws it
  }

  get source() { return this; }
  get end() { return this.start + this.duration; }
  get name() { return this.frame.name; }
  get color() { return this.frame.color; }
}

/** A track: its slices by depth and start, and its time in each state. */
export class Track {
  constructor(row, place) {
    Object.assign(this, row, {place, rows: [], totals: new Map()});
    this.start *= NS;
    this.end *= NS;
    this.label = row.name + (row.group ? ` [${row.group}]` : '');
    this.head = new Slice(this, new Frame([this.label, 'track', '', 0, row.args]), this.start, this.life, 0);
  }

  get life() { return this.end - this.start; }

  add(slice) {
    (this.rows[slice.depth] ??= []).push(slice);
    if (slice.frame.state) {
      this.totals.set(slice.name, (this.totals.get(slice.name) ?? 0) + slice.duration);
    }
  }

  sort() {
    for (let depth = 0; depth < this.rows.length; depth++) {
      this.rows[depth] = (this.rows[depth] ?? []).sort((a, b) => a.start - b.start);
    }
  }
}

/** Return the trace of the page's text. */
export async function read(text) {
  const view = new DataView(await unpacked(text));
  const trace = {tracks: [], frames: [], slices: 0, metadata: {}};
  for (let at = 0; at < view.byteLength;) {
    const kind = view.getUint32(at, true);
    const size = view.getUint32(at + 4, true);
    addRecord(trace, kind, view.buffer, at + 8, size);
    at += 8 + Math.ceil(size / 8) * 8;
  }
  trace.tracks.forEach((track) => track.sort());
  trace.end = trace.tracks.reduce((most, track) => Math.max(most, track.end), 0);
  return trace;
}

async function unpacked(text) {
  const packed = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(stream).arrayBuffer();
}

function addRecord(trace, kind, buffer, at, size) {
  if (kind === SLICES) return addSlices(trace, buffer, at, size);
  const value = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, at, size)));
  if (kind === HEAD) {
    trace.metadata = value.metadata;
    trace.tracks = value.tracks.map((row, place) => new Track(row, place));
  } else if (kind === FRAMES) {
    for (const row of value) trace.frames.push(new Frame(row));
  }
}

function addSlices(trace, buffer, at, size) {
  const count = size / 28;
  const starts = new Float64Array(buffer, at, count);
  const durations = new Float64Array(buffer, at + 8 * count, count);
  const [tracks, frames, depths] = [16, 20, 24].map((each) => new Uint32Array(buffer, at + each * count, count));
  for (let i = 0; i < count; i++) {
    const track = trace.tracks[tracks[i]];
    track.add(new Slice(track, trace.frames[frames[i]], starts[i] * NS, durations[i] * NS, depths[i]));
  }
  trace.slices += count;
}
