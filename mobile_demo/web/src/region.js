// What of the picture the network gets to see: all of it, or a rectangle of the network's own shape.

/** @typedef {import('./geometry.js').Rect} Rect */
/** @typedef {import('./geometry.js').Size} Size */

/** @typedef {{kind: 'whole' | 'square', zoom: number, x: number, y: number}} Region centre in 0..1 */

/**
 * The rectangle of source pixels, null for the whole picture.
 * @param {Region} region
 * @param {Size} source
 * @param {[number, number]} sizeHw the network's size
 * @returns {Rect | null}
 */
export function placeRegion({ kind, zoom, x, y }, source, sizeHw) {
  if (kind === 'whole') return null;
  const aspect = sizeHw[1] / sizeHw[0];
  const tallest = Math.min(source.height, source.width / aspect) / zoom;
  const height = Math.max(1, Math.min(source.height, Math.round(tallest)));
  const width = Math.max(1, Math.min(source.width, Math.round(tallest * aspect)));
  return {
    top: clamp(Math.round(y * source.height - height / 2), 0, source.height - height),
    left: clamp(Math.round(x * source.width - width / 2), 0, source.width - width),
    height,
    width,
  };
}

/**
 * The region with its centre moved to (x, y), kept where the rectangle fits.
 * @param {Region} region
 * @param {number} x
 * @param {number} y
 * @param {Size} source
 * @param {[number, number]} sizeHw
 * @returns {Region}
 */
export function moveRegion(region, x, y, source, sizeHw) {
  const rect = placeRegion({ ...region, x, y }, source, sizeHw);
  if (rect === null) return region;
  return { ...region, x: (rect.left + rect.width / 2) / source.width, y: (rect.top + rect.height / 2) / source.height };
}

/** @param {number} value @param {number} low @param {number} high */
function clamp(value, low, high) {
  return Math.max(low, Math.min(high, value));
}
