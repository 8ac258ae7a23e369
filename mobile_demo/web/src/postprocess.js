// From the network's output to a label map at the size of the source picture, as seg_core/postprocessing.py.

import { copyNearest } from './resize.js';

/** @typedef {import('./manifest.js').TensorSpec} TensorSpec */
/** @typedef {import('./manifest.js').PostprocessSpec} PostprocessSpec */
/** @typedef {import('./geometry.js').Geometry} Geometry */
/** @typedef {Float32Array | Uint8Array | Int32Array | BigInt64Array} Values */

/**
 * Labels at the network's size and at the source's.
 * @typedef {{network: Uint8Array, source: Uint8Array}} Labels
 */

/**
 * Turn one output tensor into labels. Ties go to the lower class; pixels outside the region get `outside_label`.
 * @param {PostprocessSpec} spec
 * @param {TensorSpec} output
 * @param {Values} values
 * @param {Geometry} geometry
 * @returns {Labels}
 */
export function postprocess(spec, output, values, geometry) {
  const { height, width } = outputSize(output, geometry);
  const count = output.shape.reduce((product, side) => product * side, 1);
  if (values.length !== count) throw new Error(`output "${output.name}": ${values.length} values, ${count} expected`);
  const { size } = geometry;
  if (output.role === 'labels') {
    const network = repeat(toBytes(values, output), height, width, size);
    return { network, source: restoreLabels(geometry, network, spec.outside_label) };
  }
  if (!(values instanceof Float32Array)) throw new Error(`output "${output.name}": logits are float32`);
  const classes = values.length / (height * width);
  const byPixel = output.layout === 'nhwc';
  if (spec.resize === 'logits') {
    refuseUnlessFinite(values.reduce((sum, score) => sum + score * 0, 0));
    const planes = byPixel ? toPlanes(values, classes) : values;
    return argmaxResized(planes, { height, width }, classes, geometry, spec.outside_label);
  }
  const small = byPixel ? argmaxPixels(values, classes) : argmaxPlanes(values, height * width, classes);
  const network = repeat(small, height, width, size);
  return { network, source: restoreLabels(geometry, network, spec.outside_label) };
}

/**
 * Carry labels at network size back to the source's.
 * @param {Geometry} geometry
 * @param {Uint8Array} labels
 * @param {number} outsideLabel
 */
export function restoreLabels(geometry, labels, outsideLabel) {
  const { source, box, content, size } = geometry;
  const restored = new Uint8Array(source.height * source.width);
  if (outsideLabel) restored.fill(outsideLabel);
  copyNearest(labels, size.width, content, restored, source.width, box);
  return restored;
}

/**
 * The index of the largest of `classes` planes a pixel, the lowest on a tie. Throws where a score is not finite.
 * @param {Float32Array} planes
 * @param {number} pixels
 * @param {number} classes
 */
export function argmaxPlanes(planes, pixels, classes) {
  const best = planes.slice(0, pixels);
  const labels = new Uint8Array(pixels);
  let sum = 0;
  for (let i = 0; i < pixels; i++) sum += best[i] * 0;
  for (let c = 1; c < classes; c++) {
    for (let i = 0, p = c * pixels; i < pixels; i++, p++) {
      const score = planes[p];
      sum += score * 0; // NaN or infinity makes NaN of it and keeps it so
      if (score > best[i]) {
        best[i] = score;
        labels[i] = c;
      }
    }
  }
  refuseUnlessFinite(sum);
  return labels;
}

/**
 * As `argmaxPlanes`, of scores that lie pixel by pixel.
 * @param {Float32Array} values
 * @param {number} classes
 */
export function argmaxPixels(values, classes) {
  const labels = new Uint8Array(values.length / classes);
  let sum = 0;
  for (let i = 0, p = 0; i < labels.length; i++) {
    let best = values[p];
    let label = 0;
    sum += best * 0;
    p++;
    for (let c = 1; c < classes; c++, p++) {
      const score = values[p];
      sum += score * 0;
      if (score > best) {
        best = score;
        label = c;
      }
    }
    labels[i] = label;
  }
  refuseUnlessFinite(sum);
  return labels;
}

/** @param {number} sum of all scores times zero */
function refuseUnlessFinite(sum) {
  if (sum !== 0) throw new Error('the network gave NaN or infinity; half precision may have overflowed');
}

/**
 * @param {TensorSpec} output
 * @param {Geometry} geometry
 */
function outputSize(output, geometry) {
  const [height, width] =
    output.layout === 'nchw' ? output.shape.slice(2) : output.shape.slice(1, 3);
  if (geometry.size.height % height || geometry.size.width % width) {
    throw new Error(`output "${output.name}": ${height}x${width} is no whole fraction of the input's size`);
  }
  return { height, width };
}

/**
 * @param {Values} values
 * @param {TensorSpec} output
 */
function toBytes(values, output) {
  const labels = new Uint8Array(values.length);
  for (let i = 0; i < labels.length; i++) {
    const label = Number(values[i]);
    if (!(label >= 0 && label <= 255)) throw new Error(`output "${output.name}": the label ${label} is beyond 0..255`);
    labels[i] = label;
  }
  return labels;
}

/**
 * @param {Float32Array} values pixel by pixel
 * @param {number} classes
 */
function toPlanes(values, classes) {
  const pixels = values.length / classes;
  const planes = new Float32Array(values.length);
  for (let i = 0, from = 0; i < pixels; i++) {
    for (let c = 0; c < classes; c++, from++) planes[c * pixels + i] = values[from];
  }
  return planes;
}

/**
 * Repeat labels of a fraction of the network's size until they have it.
 * @param {Uint8Array} labels
 * @param {number} height
 * @param {number} width
 * @param {import('./geometry.js').Size} size
 */
function repeat(labels, height, width, size) {
  if (height === size.height && width === size.width) return labels;
  const out = new Uint8Array(size.height * size.width);
  const [down, across] = [size.height / height, size.width / width];
  for (let y = 0, to = 0; y < size.height; y++) {
    const row = Math.floor(y / down) * width;
    for (let x = 0; x < size.width; x++, to++) out[to] = labels[row + Math.floor(x / across)];
  }
  return out;
}

/**
 * Resize each class's scores bilinearly, first to the network's size and then to the source's; the largest wins at both.
 * @param {Float32Array} planes
 * @param {import('./geometry.js').Size} size
 * @param {number} classes
 * @param {Geometry} geometry
 * @param {number} outsideLabel
 * @returns {Labels}
 */
function argmaxResized(planes, size, classes, geometry, outsideLabel) {
  const { source, box, content } = geometry;
  const pixels = size.height * size.width;
  const network = new Winner(geometry.size.height * geometry.size.width);
  const inside = new Winner(box.height * box.width);
  for (let c = 0; c < classes; c++) {
    const whole = resizeBilinear(planes.subarray(c * pixels, (c + 1) * pixels), size, geometry.size);
    network.offer(whole, c);
    inside.offer(resizeBilinear(cutPlane(whole, geometry.size.width, content), content, box), c);
  }
  const placed = new Uint8Array(source.height * source.width).fill(outsideLabel);
  for (let y = 0; y < box.height; y++) {
    placed.set(inside.labels.subarray(y * box.width, (y + 1) * box.width), (box.top + y) * source.width + box.left);
  }
  return { network: network.labels, source: placed };
}

/** Keeps the class with the largest score a pixel, the lowest on a tie, as classes are offered in their order. */
class Winner {
  /** @param {number} pixels */
  constructor(pixels) {
    this.labels = new Uint8Array(pixels);
    this.best = new Float32Array(pixels).fill(-Infinity);
  }

  /**
   * @param {Float32Array} scores
   * @param {number} label
   */
  offer(scores, label) {
    const { labels, best } = this;
    for (let i = 0; i < scores.length; i++) {
      if (scores[i] > best[i]) {
        best[i] = scores[i];
        labels[i] = label;
      }
    }
  }
}

/**
 * @param {Float32Array} plane
 * @param {number} stride
 * @param {import('./geometry.js').Rect} rect
 */
function cutPlane(plane, stride, rect) {
  const out = new Float32Array(rect.height * rect.width);
  for (let y = 0; y < rect.height; y++) {
    const start = (rect.top + y) * stride + rect.left;
    out.set(plane.subarray(start, start + rect.width), y * rect.width);
  }
  return out;
}

/**
 * Resize float32 scores bilinearly: pixel centres, edges repeated (OpenCV's INTER_LINEAR but for its last bits).
 * @param {Float32Array} plane
 * @param {import('./geometry.js').Size} from
 * @param {import('./geometry.js').Size} to
 */
export function resizeBilinear(plane, from, to) {
  if (from.height === to.height && from.width === to.width) return plane;
  const down = axis(from.height, to.height);
  const across = axis(from.width, to.width);
  const out = new Float32Array(to.height * to.width);
  for (let y = 0, i = 0; y < to.height; y++) {
    const upper = down.first[y] * from.width;
    const lower = down.second[y] * from.width;
    const b = down.weight[y];
    for (let x = 0; x < to.width; x++, i++) {
      const [p, q, a] = [across.first[x], across.second[x], across.weight[x]];
      const top = Math.fround(plane[upper + p] * (1 - a) + plane[upper + q] * a);
      const bottom = Math.fround(plane[lower + p] * (1 - a) + plane[lower + q] * a);
      out[i] = top * (1 - b) + bottom * b;
    }
  }
  return out;
}

/**
 * @param {number} source
 * @param {number} target
 */
function axis(source, target) {
  const first = new Int32Array(target);
  const second = new Int32Array(target);
  const weight = new Float32Array(target);
  for (let d = 0; d < target; d++) {
    const position = Math.max(0, ((d + 0.5) * source) / target - 0.5);
    first[d] = Math.min(Math.floor(position), source - 1);
    second[d] = Math.min(first[d] + 1, source - 1);
    weight[d] = position - first[d];
  }
  return { first, second, weight };
}
