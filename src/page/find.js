/**
 * The search: all slices and tracks whose name holds a text, one after the other.
 */
import {FOUND} from './colors.js';

export class Find {
  constructor(trace) {
    this.trace = trace;
    this.found = [];
    this.at = -1;
  }

  /** Colours what is found; how many there are. */
  search(text, tracks) {
    const wanted = text.trim().toLowerCase();
    const fits = (name) => wanted !== '' && name.toLowerCase().includes(wanted);
    for (const face of this.trace.faces) {
      face.found = fits(face.name);
      face.color = face.found ? FOUND : face.plain;
    }
    this.found = [];
    for (const track of tracks) {
      const {face} = track.head;
      face.found = fits(face.name);
      face.color = face.found ? FOUND : face.plain;
      if (face.found) this.found.push(track.head);
      for (const row of track.rows) for (const slice of row) if (slice.face.found) this.found.push(slice);
    }
    this.at = -1;
    return this.found.length;
  }

  /** The next (or the one before), round and round; null where nothing was found. */
  step(by) {
    if (!this.found.length) return null;
    this.at = this.at < 0 ? (by > 0 ? 0 : this.found.length - 1) : this.at + by;
    this.at = (this.at + this.found.length) % this.found.length;
    return this.found[this.at];
  }
}
