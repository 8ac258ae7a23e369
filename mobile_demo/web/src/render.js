// One labelled picture and the settings of the page make what is on the stage.

import { drawBlurred, drawCover, drawCutOut, drawRecoloured } from './effects.js';
import { LabelCanvas, contextOf, maskColours, overlayColours } from './masks.js';

/** @typedef {import('./protocol.js').Labelled} Labelled */

/**
 * @typedef {object} Look
 * @property {'overlay' | 'blur' | 'replace' | 'recolour'} mode
 * @property {number} opacity 0..1
 * @property {Set<number>} shown classes that the overlay colours
 * @property {number} background class behind
 * @property {number} blurSteps
 * @property {string} backdrop CSS colour
 * @property {ImageBitmap | null} backdropPicture
 * @property {number[]} part classes to recolour
 * @property {string} tint CSS colour
 * @property {number} strength 0..1
 * @property {boolean} guide whether to outline the region
 */

/** Draws labelled pictures onto one canvas. */
export class Renderer {
  #labels = new LabelCanvas();

  /**
   * @param {HTMLCanvasElement} stage
   * @param {import('./manifest.js').LabelSet} labelSet
   */
  constructor(stage, labelSet) {
    this.stage = stage;
    this.labelSet = labelSet;
  }

  /**
   * Draw `frame` with its labels as `look` says.
   * @param {HTMLCanvasElement} frame
   * @param {Labelled} labelled
   * @param {Look} look
   */
  draw(frame, labelled, look) {
    const { stage } = this;
    if (stage.width !== frame.width || stage.height !== frame.height) {
      stage.width = frame.width;
      stage.height = frame.height;
      stage.style.setProperty('--aspect', String(frame.width / frame.height));
    }
    const context = contextOf(stage);
    context.globalCompositeOperation = 'source-over';
    context.globalAlpha = 1;
    context.drawImage(frame, 0, 0);
    if (look.mode === 'overlay') this.#drawOverlay(context, labelled, look);
    else if (look.mode === 'recolour') {
      const { box } = labelled.geometry;
      drawRecoloured(context, this.#mask(labelled, new Set(look.part)), box, look.tint, look.strength);
    } else this.#drawBackground(context, frame, labelled, look);
    if (look.guide) drawGuide(context, labelled.geometry.box);
  }

  /** @param {CanvasRenderingContext2D} context @param {Labelled} labelled @param {Look} look */
  #drawOverlay(context, { source, geometry }, { opacity, shown }) {
    const { height, width } = geometry.source;
    this.#labels.setColours(overlayColours(this.labelSet.palette, shown));
    context.globalAlpha = opacity;
    context.drawImage(this.#labels.paint(source, width, { top: 0, left: 0, height, width }), 0, 0);
    context.globalAlpha = 1;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {HTMLCanvasElement} frame
   * @param {Labelled} labelled
   * @param {Look} look
   */
  #drawBackground(context, frame, labelled, look) {
    if (look.mode === 'blur') drawBlurred(context, frame, look.blurSteps);
    else if (look.backdropPicture) drawCover(context, look.backdropPicture);
    else {
      context.fillStyle = look.backdrop;
      context.fillRect(0, 0, context.canvas.width, context.canvas.height);
    }
    const front = new Set(this.labelSet.names.keys());
    front.delete(look.background);
    drawCutOut(context, frame, this.#mask(labelled, front), labelled.geometry.box);
  }

  /**
   * The network's own small label map as a mask: enlarging it smoothly makes soft edges.
   * @param {Labelled} labelled
   * @param {Set<number>} classes
   */
  #mask({ network, geometry }, classes) {
    this.#labels.setColours(maskColours(classes));
    return this.#labels.paint(network, geometry.size.width, geometry.content);
  }
}

/** @param {CanvasRenderingContext2D} context @param {import('./geometry.js').Rect} box */
function drawGuide(context, { top, left, height, width }) {
  const { canvas } = context;
  if (height === canvas.height && width === canvas.width) return;
  const line = Math.max(1, Math.round(canvas.width / 320));
  context.lineWidth = line;
  context.strokeStyle = 'rgb(255 255 255 / 0.85)';
  context.setLineDash([line * 4, line * 3]);
  context.strokeRect(left + line / 2, top + line / 2, width - line, height - line);
  context.setLineDash([]);
}
