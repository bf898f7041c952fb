/**
 * The search: visits all slices and tracks whose name contains a text, one after the other.
 */
import {FOUND} from './colors.js';

export class Find {
  constructor(trace) {
    this.trace = trace;
    this.found = [];
    this.at = -1;
  }

  /** Colour what is found, and return how many slices and tracks that are. */
  search(text, tracks) {
    const wanted = text.trim().toLowerCase();
    const fits = (name) => wanted !== '' && name.toLowerCase().includes(wanted);
    for (const frame of this.trace.frames) {
      frame.found = fits(frame.name);
      frame.color = frame.found ? FOUND : frame.plain;
    }
    this.found = [];
    for (const track of tracks) {
      const {frame} = track.head;
      frame.found = fits(frame.name);
      frame.color = frame.found ? FOUND : frame.plain;
      if (frame.found) this.found.push(track.head);
      for (const row of track.rows) for (const slice of row) if (slice.frame.found) this.found.push(slice);
    }
    this.at = -1;
    return this.found.length;
  }

  /** Return the next result (or the previous one), in a circle; null if there is none. */
  step(by) {
    if (!this.found.length) return null;
    this.at = this.at < 0 ? (by > 0 ? 0 : this.found.length - 1) : this.at + by;
    this.at = (this.at + this.found.length) % this.found.length;
    return this.found[this.at];
  }
}
