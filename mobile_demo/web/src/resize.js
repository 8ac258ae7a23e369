// The two ways of resizing of the contract, integer for integer as in seg_core/reference.py, and the 2x2 reduction.
// Pictures are RGBA bytes (as canvases give them), row by row; alpha is carried but means nothing.

/** @typedef {{data: Uint8Array | Uint8ClampedArray, height: number, width: number}} Picture RGBA, 4 bytes a pixel */

/**
 * The two source indices of each target pixel of one axis, and the weight (0..256) of the second.
 * @typedef {{first: Int32Array, second: Int32Array, weight: Int32Array}} LinearAxis
 */

/**
 * @param {number} source
 * @param {number} target
 * @returns {LinearAxis}
 */
function linearAxis(source, target) {
  const scale = 1 / (target / source);
  const axis = { first: new Int32Array(target), second: new Int32Array(target), weight: new Int32Array(target) };
  for (let d = 0; d < target; d++) {
    const position = scale * (d + 0.5) - 0.5;
    const index = Math.floor(position);
    const inside = index >= 0 && index < source - 1;
    axis.first[d] = Math.min(Math.max(index, 0), source - 1);
    axis.second[d] = Math.min(axis.first[d] + 1, source - 1);
    axis.weight[d] = inside ? roundHalfEven((position - index) * 256) : 0;
  }
  return axis;
}

/** @param {number} value */
function roundHalfEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest > 0.5 ? floor + 1 : floor;
  return floor % 2 === 0 ? floor : floor + 1;
}

/**
 * The source index of each target pixel of one axis.
 * @param {number} source
 * @param {number} target
 */
function nearestAxis(source, target) {
  const scale = 1 / (target / source);
  const index = new Int32Array(target);
  for (let d = 0; d < target; d++) index[d] = Math.min(Math.floor(d * scale), source - 1);
  return index;
}

/**
 * Resize by LINEAR_EXACT: 8.8 fixed point across, 8.16 down, then `(v + 32768) >> 16`.
 * @param {Picture} image
 * @param {number} height
 * @param {number} width
 * @returns {Picture}
 */
export function resizeLinearExact(image, height, width) {
  const across = linearAxis(image.width, width);
  const down = linearAxis(image.height, height);
  const data = new Uint8Array(height * width * 4);
  // Rows are needed in rising order, two at a time: each source row is resized across once.
  /** @type {[number, Int32Array][]} */
  const rows = [[-1, new Int32Array(width * 4)], [-1, new Int32Array(width * 4)]];
  const row = (/** @type {number} */ index, /** @type {number} */ keep) => {
    const known = rows.find((entry) => entry[0] === index);
    if (known) return known[1];
    const slot = rows[0][0] === keep ? rows[1] : rows[0];
    slot[0] = index;
    resizeRow(image, index, across, slot[1]);
    return slot[1];
  };
  for (let y = 0; y < height; y++) {
    const upper = row(down.first[y], -1);
    const lower = row(down.second[y], down.first[y]);
    const b = down.weight[y];
    const a = 256 - b;
    const start = y * width * 4;
    for (let i = 0; i < upper.length; i++) data[start + i] = (upper[i] * a + lower[i] * b + 32768) >> 16;
  }
  return { data, height, width };
}

/**
 * @param {Picture} image
 * @param {number} y
 * @param {LinearAxis} across
 * @param {Int32Array} out
 */
function resizeRow(image, y, across, out) {
  const { data } = image;
  const start = y * image.width * 4;
  const { first, second, weight } = across;
  for (let x = 0, i = 0; x < weight.length; x++, i += 4) {
    const p = start + first[x] * 4;
    const q = start + second[x] * 4;
    const b = weight[x];
    const a = 256 - b;
    out[i] = data[p] * a + data[q] * b;
    out[i + 1] = data[p + 1] * a + data[q + 1] * b;
    out[i + 2] = data[p + 2] * a + data[q + 2] * b;
  }
}

/**
 * Resize by NEAREST.
 * @param {Picture} image
 * @param {number} height
 * @param {number} width
 * @returns {Picture}
 */
export function resizeNearest(image, height, width) {
  const rows = nearestAxis(image.height, height);
  const columns = nearestAxis(image.width, width);
  const data = new Uint8Array(height * width * 4);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 4) {
      const from = (rows[y] * image.width + columns[x]) * 4;
      for (let c = 0; c < 4; c++) data[to + c] = image.data[from + c];
    }
  }
  return { data, height, width };
}

/**
 * Resize a rectangle of a label map by NEAREST into a rectangle of another one.
 * @param {Uint8Array} labels
 * @param {number} stride pixels a row of `labels`
 * @param {import('./geometry.js').Rect} from
 * @param {Uint8Array} out
 * @param {number} outStride
 * @param {import('./geometry.js').Rect} to
 */
export function copyNearest(labels, stride, from, out, outStride, to) {
  const rows = nearestAxis(from.height, to.height);
  const columns = nearestAxis(from.width, to.width);
  for (let x = 0; x < columns.length; x++) columns[x] += from.left;
  let before = -1;
  for (let y = 0; y < to.height; y++) {
    const start = (to.top + y) * outStride + to.left;
    if (rows[y] === before) {
      out.copyWithin(start, start - outStride, start - outStride + to.width);
      continue;
    }
    before = rows[y];
    const source = (from.top + rows[y]) * stride;
    for (let x = 0; x < to.width; x++) out[start + x] = labels[source + columns[x]];
  }
}

/**
 * Average 2x2 blocks while both sides are at least twice the target; an odd last row or column is dropped.
 * @param {Picture} image
 * @param {number} targetHeight
 * @param {number} targetWidth
 * @returns {Picture}
 */
export function halve(image, targetHeight, targetWidth) {
  let current = image;
  while (current.height >= 2 * targetHeight && current.width >= 2 * targetWidth) {
    const height = Math.floor(current.height / 2);
    const width = Math.floor(current.width / 2);
    const { data } = current;
    const row = current.width * 4;
    const half = new Uint8Array(height * width * 4);
    for (let y = 0, to = 0; y < height; y++) {
      for (let x = 0, from = 2 * y * row; x < width; x++, from += 8, to += 4) {
        for (let c = 0; c < 3; c++) {
          const p = from + c;
          half[to + c] = (data[p] + data[p + 4] + data[p + row] + data[p + row + 4] + 2) >> 2;
        }
      }
    }
    current = { data: half, height, width };
  }
  return current;
}

/**
 * Cut a rectangle out of a picture.
 * @param {Picture} image
 * @param {import('./geometry.js').Rect} box
 * @returns {Picture}
 */
export function crop(image, box) {
  if (box.height === image.height && box.width === image.width) return image;
  const data = new Uint8Array(box.height * box.width * 4);
  for (let y = 0; y < box.height; y++) {
    const start = ((box.top + y) * image.width + box.left) * 4;
    data.set(image.data.subarray(start, start + box.width * 4), y * box.width * 4);
  }
  return { data, height: box.height, width: box.width };
}
