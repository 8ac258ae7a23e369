// Where the pixels of a picture go on their way to the network. The normative text is seg_core/geometry.py;
// "rounded" is to the nearest integer with halves up, computed in integers, so that every language agrees.

/** @typedef {import('./manifest.js').PreprocessSpec} PreprocessSpec */

/**
 * A rectangle of source pixels.
 * @typedef {{top: number, left: number, height: number, width: number}} Rect
 */

/**
 * The way of one picture: `box` of the source was resized to the size of `content`, a rectangle of the network's
 * canvas `size`; the rest of the canvas is padding.
 * @typedef {{source: Size, box: Rect, content: Rect, size: Size}} Geometry
 */

/** @typedef {{height: number, width: number}} Size */

/**
 * Plan where a picture goes; without `roi` all of it is used.
 * @param {Size} source
 * @param {PreprocessSpec} spec
 * @param {Rect | null} [roi]
 * @returns {Geometry}
 */
export function planGeometry(source, spec, roi = null) {
  const [height, width] = spec.size_hw;
  let box = roi ?? { top: 0, left: 0, height: source.height, width: source.width };
  const inside =
    box.top >= 0 && box.left >= 0 && box.height >= 1 && box.width >= 1 &&
    box.top + box.height <= source.height && box.left + box.width <= source.width;
  if (!inside || !Object.values(box).every(Number.isInteger)) {
    throw new RangeError(`region ${JSON.stringify(box)} is not inside the picture of ${source.height}x${source.width}`);
  }
  if (spec.resize === 'center_crop') box = cropToAspect(box, height, width);
  const fitted = spec.resize === 'letterbox' ? fitInside(box, height, width) : { height, width };
  const content = {
    top: Math.floor((height - fitted.height) / 2),
    left: Math.floor((width - fitted.width) / 2),
    ...fitted,
  };
  return { source, box, content, size: { height, width } };
}

/**
 * @param {number} numerator
 * @param {number} denominator
 */
function roundRatio(numerator, denominator) {
  return Math.floor((2 * numerator + denominator) / (2 * denominator));
}

/**
 * @param {Size} region
 * @param {number} height
 * @param {number} width
 * @returns {Size}
 */
function fitInside(region, height, width) {
  const { height: h, width: w } = region;
  if (h * width >= w * height) return { height, width: Math.max(1, roundRatio(w * height, h)) };
  return { height: Math.max(1, roundRatio(h * width, w)), width };
}

/**
 * @param {Rect} box
 * @param {number} height
 * @param {number} width
 * @returns {Rect}
 */
function cropToAspect(box, height, width) {
  const { height: h, width: w } = box;
  const cut =
    h * width >= w * height
      ? { height: Math.min(h, Math.max(1, roundRatio(w * height, width))), width: w }
      : { height: h, width: Math.min(w, Math.max(1, roundRatio(h * width, height))) };
  return {
    top: box.top + Math.floor((h - cut.height) / 2),
    left: box.left + Math.floor((w - cut.width) / 2),
    ...cut,
  };
}
