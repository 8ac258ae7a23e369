// The golden vectors of the contract (mobile_demo/vectors): the generator, the hash, and the check of a row.
// The page runs all rows when it starts; the tests run them under Node.

import { planGeometry } from './geometry.js';
import { postprocess, restoreLabels } from './postprocess.js';
import { preprocess } from './preprocess.js';
import { carryLabels } from './prior.js';

/** @typedef {import('./manifest.js').PreprocessSpec} PreprocessSpec */
/** @typedef {Record<string, string>} Row */

const IMAGENET = { scale: 1 / 255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/** Scale, mean and std (RGB) by the name in the column `norm`. @type {Record<string, typeof IMAGENET>} */
const NORMS = {
  imagenet: IMAGENET,
  half: { scale: 1 / 255, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  pixels: { scale: 1, mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375] },
  raw: { scale: 1, mean: [0, 0, 0], std: [1, 1, 1] },
};

/** Of the rows `prior`: pixel values of the labels 0..17; label 18 has none. */
const PRIOR_VALUES = Array.from({ length: 18 }, (_, label) => 20 + 13 * label);

/** Of the rows `label`: classes of the scores, and how many times as large as their map the network's input is. */
const SCORES = { classes: 5, stride: 4 };

/** @param {string} text @returns {Row[]} */
export function parseCsv(text) {
  const [header, ...lines] = text.trim().split(/\r?\n/);
  const names = header.split(',');
  return lines.map((line) => Object.fromEntries(line.split(',').map((value, i) => [names[i], value])));
}

/**
 * Draw pseudo-random bytes: xorshift32 from `seed`, the top byte of each state.
 * @param {number} seed
 * @param {number} count
 */
export function drawBytes(seed, count) {
  const bytes = new Uint8Array(count);
  let state = seed >>> 0;
  for (let i = 0; i < count; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/**
 * Draw a picture: its bytes are blue, green, red, pixel by pixel.
 * @param {number} seed
 * @param {number} height
 * @param {number} width
 * @returns {import('./resize.js').Picture}
 */
export function drawPicture(seed, height, width) {
  const drawn = drawBytes(seed, height * width * 3);
  const data = new Uint8Array(height * width * 4);
  for (let from = 0, to = 0; from < drawn.length; from += 3, to += 4) {
    data[to] = drawn[from + 2];
    data[to + 1] = drawn[from + 1];
    data[to + 2] = drawn[from];
    data[to + 3] = 255;
  }
  return { data, height, width };
}

/**
 * The 64-bit FNV-1a hash as 16 hexadecimal digits, of the bytes that lie under a typed array.
 * @param {Uint8Array | Float32Array} values
 */
export function hashBytes(values) {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  // h * 0x100000001b3 = h * 0x1b3 + (h << 40), in halves of 32 bits.
  let high = 0xcbf29ce4;
  let low = 0x84222325;
  for (const byte of bytes) {
    low = (low ^ byte) >>> 0;
    const product = low * 0x1b3;
    high = (Math.imul(high, 0x1b3) + Math.floor(product / 0x100000000) + (low << 8)) >>> 0;
    low = product >>> 0;
  }
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
}

/** @param {Row} row @returns {PreprocessSpec} */
function specOf(row) {
  const color = /** @type {PreprocessSpec['color']} */ (row.color);
  const norm = NORMS[row.norm];
  const pick = (/** @type {number[]} */ values) =>
    color === 'gray' ? values.slice(0, 1) : color === 'bgr' ? [...values].reverse() : values;
  const prior = row.kind === 'prior';
  return /** @type {PreprocessSpec} */ ({
    size_hw: [Number(row.size_h), Number(row.size_w)],
    color,
    resize: row.resize,
    interpolation: row.interpolation,
    reduce: row.reduce,
    pad_value: Number(row.pad_value),
    scale: norm.scale,
    mean: [...pick(norm.mean), ...(prior ? [0] : [])],
    std: [...pick(norm.std), ...(prior ? [1] : [])],
    layout: row.layout,
    dtype: row.norm === 'raw' ? 'uint8' : 'float32',
    ...(prior ? { version: 2, prior: 'previous_labels', prior_values: PRIOR_VALUES } : { version: 1 }),
  });
}

/**
 * Labels of drawn scores, of which most are tied, at the picture's size.
 * @param {Row} row
 * @param {import('./geometry.js').Geometry} geometry
 */
function labelScores(row, geometry) {
  const { classes, stride } = SCORES;
  const [height, width] = [geometry.size.height / stride, geometry.size.width / stride];
  const planes = row.layout === 'nchw';
  const output = {
    name: 'scores',
    role: /** @type {const} */ ('logits'),
    shape: planes ? [1, classes, height, width] : [1, height, width, classes],
    dtype: 'float32',
    layout: planes ? /** @type {const} */ ('nchw') : /** @type {const} */ ('nhwc'),
  };
  const scores = Float32Array.from(drawBytes(Number(row.seed), classes * height * width), (byte) => byte % 4);
  const spec = { resize: /** @type {const} */ ('labels'), outside_label: Number(row.pad_value) };
  return postprocess(spec, output, scores, geometry).source;
}

/**
 * Compute the hash that a row states, from its other columns alone.
 * @param {Row} row
 */
export function computeRow(row) {
  const spec = specOf(row);
  const source = { height: Number(row.source_h), width: Number(row.source_w) };
  const [top, left, height, width] = row.roi.split(':').map(Number);
  const roi = row.roi ? { top, left, height, width } : null;
  const seed = Number(row.seed);
  const geometry = planGeometry(source, spec, roi);
  if (row.kind === 'label') return hashBytes(labelScores(row, geometry));
  const labels = () => drawBytes(seed, spec.size_hw[0] * spec.size_hw[1]).map((byte) => byte % 19);
  if (row.kind === 'restore') return hashBytes(restoreLabels(geometry, labels(), 255));
  const recall = (/** @type {typeof geometry} */ now) => carryLabels(labels(), planGeometry(source, spec), now);
  return hashBytes(preprocess(spec, drawPicture(seed, source.height, source.width), roi, recall).tensor);
}

/**
 * Check every row of the file's text; returns their number. Throws at the first row that differs.
 * @param {string} text
 */
export function checkVectors(text) {
  const rows = parseCsv(text);
  if (rows.length === 0) throw new Error('vectors.csv: no rows');
  for (const row of rows) {
    const found = computeRow(row);
    if (found !== row.fnv1a64) {
      throw new Error(`golden vector ${row.kind} ${row.seed}: ${found} instead of ${row.fnv1a64}`);
    }
  }
  return rows.length;
}
