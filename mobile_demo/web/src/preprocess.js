// The preprocessing contract: RGBA bytes in, the network's input tensor out, bit for bit as seg_core/reference.py.

import { planGeometry } from './geometry.js';
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
 * @returns {{tensor: Float32Array | Uint8Array, geometry: import('./geometry.js').Geometry}}
 */
export function preprocess(spec, image, roi = null) {
  const geometry = planGeometry({ height: image.height, width: image.width }, spec, roi);
  const { content, size } = geometry;
  let region = crop(image, geometry.box);
  if (spec.reduce === 'halve') region = halve(region, content.height, content.width);
  const resize = spec.interpolation === 'linear_exact' ? resizeLinearExact : resizeNearest;
  const canvas = pad(resize(region, content.height, content.width), content, size, spec.pad_value);
  return { tensor: toTensor(spec, spec.color === 'gray' ? toGray(canvas) : canvas), geometry };
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
 * @returns {Float32Array | Uint8Array}
 */
function toTensor(spec, image) {
  const bytes = CHANNEL_BYTES[spec.color];
  const pixels = image.height * image.width;
  const raw = spec.dtype === 'uint8';
  const tensor = raw ? new Uint8Array(pixels * bytes.length) : new Float32Array(pixels * bytes.length);
  // One pixel further is `step` values further, one channel further is `plane`.
  const [step, plane] = spec.layout === 'nchw' ? [1, pixels] : [bytes.length, 1];
  bytes.forEach((byte, channel) => {
    const table = raw ? null : normalised(spec, channel);
    for (let i = 0, from = byte, to = channel * plane; i < pixels; i++, from += 4, to += step) {
      tensor[to] = table ? table[image.data[from]] : image.data[from];
    }
  });
  return tensor;
}
