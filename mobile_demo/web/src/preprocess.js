// The preprocessing contract: RGBA bytes in, the network's input tensor out, bit for bit as seg_core/reference.py.

import { planGeometry } from './geometry.js';
import { hasPrior } from './manifest.js';
import { crop, halve, resizeLinearExact, resizeNearest } from './resize.js';

/** @typedef {import('./manifest.js').PreprocessSpec} PreprocessSpec */
/** @typedef {import('./resize.js').Picture} Picture */

/** Byte of each tensor channel in an RGBA pixel. */
const CHANNEL_BYTES = { rgb: [0, 1, 2], bgr: [2, 1, 0], gray: [0] };

/**
 * Make the input tensor (batch of one, in the layout and type of `spec`) of a picture.
 * @param {PreprocessSpec} spec
 * @param {Picture} image
 * @param {import('./geometry.js').Rect | null} [roi]
 * @param {((geometry: import('./geometry.js').Geometry) => Uint8Array | null) | null} [recall] gives the labels of the
 *   previous frame at the network's size, for contracts with a prior; without it nothing is known
 * @returns {{tensor: Float32Array | Uint8Array, geometry: import('./geometry.js').Geometry}}
 */
export function preprocess(spec, image, roi = null, recall = null) {
  const geometry = planGeometry({ height: image.height, width: image.width }, spec, roi);
  const { content, size } = geometry;
  let region = crop(image, geometry.box);
  if (spec.reduce === 'halve') region = halve(region, content.height, content.width);
  const resize = spec.interpolation === 'linear_exact' ? resizeLinearExact : resizeNearest;
  const canvas = pad(resize(region, content.height, content.width), content, size, spec.pad_value);
  const prior = hasPrior(spec) ? priorChannel(spec, recall?.(geometry) ?? null) : null;
  return { tensor: toTensor(spec, spec.color === 'gray' ? toGray(canvas) : canvas, prior), geometry };
}

/**
 * @param {Picture} image
 * @param {import('./geometry.js').Rect} content
 * @param {import('./geometry.js').Size} size
 * @param {number} value
 * @returns {Picture}
 */
function pad(image, content, size, value) {
  if (content.height === size.height && content.width === size.width) return image;
  const data = new Uint8Array(size.height * size.width * 4).fill(value);
  const row = content.width * 4;
  for (let y = 0; y < content.height; y++) {
    data.set(image.data.subarray(y * row, (y + 1) * row), ((content.top + y) * size.width + content.left) * 4);
  }
  return { data, ...size };
}

/**
 * Write the grey value, `(3735 B + 19235 G + 9798 R + 16384) >> 15`, into the first byte of each pixel.
 * @param {Picture} image
 * @returns {Picture}
 */
function toGray(image) {
  const data = new Uint8Array(image.data.length);
  for (let i = 0; i < data.length; i += 4) {
    data[i] = (9798 * image.data[i] + 19235 * image.data[i + 1] + 3735 * image.data[i + 2] + 16384) >> 15;
  }
  return { data, height: image.height, width: image.width };
}

/**
 * The pixel values of the previous labels: `prior_values[label]`, and 0 where nothing is known.
 * @param {PreprocessSpec} spec
 * @param {Uint8Array | null} labels
 */
function priorChannel({ size_hw, prior_values = [] }, labels) {
  if (labels === null) return new Uint8Array(size_hw[0] * size_hw[1]);
  return labels.map((label) => prior_values[label] ?? 0);
}

/**
 * What each of the 256 byte values becomes in one channel: float32 `((x * scale) - mean) / std`, the constants
 * rounded to float32 first and a rounding after each operation.
 * @param {PreprocessSpec} spec
 * @param {number} channel
 */
function normalised(spec, channel) {
  const { fround } = Math;
  const [scale, mean, std] = [fround(spec.scale), fround(spec.mean[channel]), fround(spec.std[channel])];
  return Float32Array.from({ length: 256 }, (_, x) => fround(fround(fround(x * scale) - mean) / std));
}

/**
 * @param {PreprocessSpec} spec
 * @param {Picture} image
 * @param {Uint8Array | null} prior one byte a pixel, the last channel
 * @returns {Float32Array | Uint8Array}
 */
function toTensor(spec, image, prior) {
  const pixels = image.height * image.width;
  // Where the first byte of each channel lies, and how far the next pixel's is.
  const sources = CHANNEL_BYTES[spec.color].map((byte) => ({ data: image.data, byte, stride: 4 }));
  if (prior) sources.push({ data: prior, byte: 0, stride: 1 });
  const raw = spec.dtype === 'uint8';
  const tensor = raw ? new Uint8Array(pixels * sources.length) : new Float32Array(pixels * sources.length);
  const [step, plane] = spec.layout === 'nchw' ? [1, pixels] : [sources.length, 1];
  sources.forEach(({ data, byte, stride }, channel) => {
    const table = raw ? null : normalised(spec, channel);
    for (let i = 0, from = byte, to = channel * plane; i < pixels; i++, from += stride, to += step) {
      tensor[to] = table ? table[data[from]] : data[from];
    }
  });
  return tensor;
}
