// What face parsing is for: a blurred or other background, hair and lips in another colour. Canvas operations alone,
// and none that a browser of today lacks.

import { contextOf, makeCanvas } from './masks.js';

/** @typedef {HTMLCanvasElement} Canvas */

/** Longest side of the picture for which `steps` are as they are; twice as large, it is halved once more. */
const BLUR_SIDE = 640;

/**
 * Draw a blurred copy of `source` over all of `context`, large pictures as soft as small ones: halved `steps` times and enlarged step by step, which is
 * smooth, fast on phones, and works where canvases have no filters.
 * @param {CanvasRenderingContext2D} context
 * @param {Canvas} source
 * @param {number} strength
 */
export function drawBlurred(context, source, strength) {
  const { width, height } = context.canvas;
  const steps = strength + Math.max(0, Math.round(Math.log2(Math.max(width, height) / BLUR_SIDE)));
  /** @type {Canvas[]} */
  const levels = [source];
  for (let step = 1; step <= steps; step++) {
    const [w, h] = [Math.max(1, width >> step), Math.max(1, height >> step)];
    levels.push(scaled(levels[step - 1], w, h));
  }
  let current = levels[steps];
  for (let step = steps - 1; step > 0; step--) current = scaled(current, levels[step].width, levels[step].height);
  context.imageSmoothingQuality = 'high';
  context.drawImage(current, 0, 0, width, height);
}

/**
 * @param {Canvas} source
 * @param {number} width
 * @param {number} height
 */
function scaled(source, width, height) {
  const canvas = makeCanvas(width, height);
  const context = contextOf(canvas);
  context.imageSmoothingQuality = 'high';
  context.drawImage(source, 0, 0, width, height);
  return canvas;
}

/**
 * Draw `source` where `mask` is opaque; the mask's small canvas is enlarged smoothly to `box`. Below the box, which the
 * network has not seen, its last row goes on: a body does not end where the region does.
 * @param {CanvasRenderingContext2D} context
 * @param {Canvas} source
 * @param {Canvas} mask
 * @param {import('./geometry.js').Rect} box
 */
export function drawCutOut(context, source, mask, box) {
  const layer = maskLayer(source.width, source.height, mask, box);
  const cut = contextOf(layer);
  const bottom = box.top + box.height;
  if (bottom < source.height) {
    cut.drawImage(mask, 0, mask.height - 1, mask.width, 1, box.left, bottom, box.width, source.height - bottom);
  }
  cut.globalCompositeOperation = 'source-in';
  cut.drawImage(source, 0, 0);
  context.drawImage(layer, 0, 0);
}

/**
 * Draw a picture so that it covers the canvas, as CSS's object-fit: cover.
 * @param {CanvasRenderingContext2D} context
 * @param {ImageBitmap} picture
 */
export function drawCover(context, picture) {
  const { width, height } = context.canvas;
  const scale = Math.max(width / picture.width, height / picture.height);
  const [w, h] = [picture.width * scale, picture.height * scale];
  context.drawImage(picture, (width - w) / 2, (height - h) / 2, w, h);
}

/**
 * Give what is under `mask` another hue and keep its light and shade; dark hair is lifted a little towards the colour.
 * @param {CanvasRenderingContext2D} context that already shows the picture
 * @param {Canvas} mask
 * @param {import('./geometry.js').Rect} box
 * @param {string} colour
 * @param {number} strength 0..1
 */
export function drawRecoloured(context, mask, box, colour, strength) {
  const { width, height } = context.canvas;
  const layer = maskLayer(width, height, mask, box);
  const paint = contextOf(layer);
  paint.globalCompositeOperation = 'source-in';
  paint.fillStyle = colour;
  paint.fillRect(0, 0, width, height);
  context.save();
  context.globalAlpha = strength;
  context.globalCompositeOperation = 'color';
  context.drawImage(layer, 0, 0);
  context.globalAlpha = strength * 0.45;
  context.globalCompositeOperation = 'soft-light';
  context.drawImage(layer, 0, 0);
  context.globalAlpha = strength * 0.18;
  context.globalCompositeOperation = 'screen';
  context.drawImage(layer, 0, 0);
  context.restore();
}

/**
 * @param {number} width
 * @param {number} height
 * @param {Canvas} mask
 * @param {import('./geometry.js').Rect} box
 */
function maskLayer(width, height, mask, box) {
  const layer = makeCanvas(width, height);
  const context = contextOf(layer);
  context.imageSmoothingQuality = 'high';
  context.drawImage(mask, box.left, box.top, box.width, box.height);
  return layer;
}
