// What a video network remembers from frame to frame, as seg_core/prior.py and seg_core/tracking.py.

import { restoreLabels } from './postprocess.js';
import { copyNearest } from './resize.js';

/** @typedef {import('./geometry.js').Geometry} Geometry */

/** Label of pixels about which the previous frame says nothing. */
export const UNKNOWN = 255;

/** Mean difference of two thumbnails' grey values from which on they are of different scenes. */
const CUT_DIFFERENCE = 24;

const THUMBNAIL = 16;

/**
 * The labels of a frame seen by `before` as the prior of one seen by `after`; null when the pictures differ in size.
 * Both are at the network's size; padding is always unknown.
 * @param {Uint8Array} labels
 * @param {Geometry} before
 * @param {Geometry} after
 */
export function carryLabels(labels, before, after) {
  const { source, box, content, size } = after;
  if (before.source.height !== source.height || before.source.width !== source.width) return null;
  const carried = new Uint8Array(size.height * size.width).fill(UNKNOWN);
  if (sameRect(before.box, box) && sameRect(before.content, content)) {
    copyNearest(labels, size.width, content, carried, size.width, content);
    return carried;
  }
  const atSource = restoreLabels(before, labels, UNKNOWN);
  copyNearest(atSource, source.width, box, carried, size.width, content);
  return carried;
}

/** @param {import('./geometry.js').Rect} a @param {import('./geometry.js').Rect} b */
function sameRect(a, b) {
  return a.top === b.top && a.left === b.left && a.height === b.height && a.width === b.width;
}

/** The previous frame of one video: asked before each frame, told after it. */
export class PriorState {
  /** @type {{labels: Uint8Array, geometry: Geometry} | null} */
  #kept = null;
  /** @type {Float32Array | null} */
  #thumbnail = null;

  reset() {
    this.#kept = null;
    this.#thumbnail = null;
  }

  /**
   * The prior of a frame: null for the first one, after a cut and where the size of the frames changed.
   * @param {import('./resize.js').Picture} frame
   * @param {Geometry} geometry
   */
  recall(frame, geometry) {
    const before = this.#thumbnail;
    const now = makeThumbnail(frame);
    this.#thumbnail = now;
    if (this.#kept === null || before === null) return null;
    const difference = now.reduce((sum, value, i) => sum + Math.abs(value - before[i]), 0) / now.length;
    return difference > CUT_DIFFERENCE ? null : carryLabels(this.#kept.labels, this.#kept.geometry, geometry);
  }

  /** @param {Uint8Array} labels at the network's size @param {Geometry} geometry */
  keep(labels, geometry) {
    this.#kept = { labels: labels.slice(), geometry };
  }
}

/**
 * Mean grey values of 16x16 cells, four samples each way.
 * @param {import('./resize.js').Picture} frame
 */
function makeThumbnail({ data, height, width }) {
  const thumbnail = new Float32Array(THUMBNAIL * THUMBNAIL);
  const samples = THUMBNAIL * 4;
  for (let y = 0; y < samples; y++) {
    const row = Math.min(height - 1, Math.floor((y * height) / samples)) * width;
    for (let x = 0; x < samples; x++) {
      const p = (row + Math.min(width - 1, Math.floor((x * width) / samples))) * 4;
      const grey = 0.299 * data[p] + 0.587 * data[p + 1] + 0.114 * data[p + 2];
      thumbnail[(y >> 2) * THUMBNAIL + (x >> 2)] += grey / 16;
    }
  }
  return thumbnail;
}
