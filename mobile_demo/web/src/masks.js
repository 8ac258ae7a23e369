// Label maps as pixels: colours for the overlay, and soft masks for the effects.

/** @typedef {import('./protocol.js').Labelled} Labelled */

/**
 * Make a canvas; of the kind that needs no document where there is one.
 * @param {number} width
 * @param {number} height
 */
export function makeCanvas(width, height) {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

/**
 * The 2D context of a canvas.
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasRenderingContext2DSettings} [settings]
 */
export function contextOf(canvas, settings) {
  const context = canvas.getContext('2d', settings);
  if (!context) throw new Error('this browser gives no 2D canvas');
  return context;
}

/** A canvas that keeps its memory from picture to picture, filled through a table of 256 RGBA values. */
export class LabelCanvas {
  canvas = makeCanvas(1, 1);
  #context = contextOf(this.canvas);
  #table = new Uint8ClampedArray(256 * 4);
  /** @type {ImageData | null} */
  #pixels = null;

  /**
   * Set what each label becomes.
   * @param {(label: number) => [number, number, number, number]} colour
   */
  setColours(colour) {
    for (let label = 0; label < 256; label++) this.#table.set(colour(label), label * 4);
  }

  /**
   * Paint a rectangle of a label map.
   * @param {Uint8Array} labels
   * @param {number} stride
   * @param {import('./geometry.js').Rect} rect
   */
  paint(labels, stride, { top, left, height, width }) {
    if (this.#pixels?.width !== width || this.#pixels.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
      this.#pixels = this.#context.createImageData(width, height);
    }
    // Whole pixels at a time; both sides are in the machine's own byte order.
    const out = new Uint32Array(this.#pixels.data.buffer);
    const table = new Uint32Array(this.#table.buffer);
    for (let y = 0, i = 0; y < height; y++) {
      const start = (top + y) * stride + left;
      for (let x = 0; x < width; x++, i++) out[i] = table[labels[start + x]];
    }
    this.#context.putImageData(this.#pixels, 0, 0);
    return this.canvas;
  }
}

/**
 * The colour of each class of an overlay. Classes that are off or black (background, as a rule) stay clear.
 * @param {[number, number, number][]} palette
 * @param {Set<number>} shown
 * @returns {(label: number) => [number, number, number, number]}
 */
export function overlayColours(palette, shown) {
  return (label) => {
    const colour = palette[label];
    return colour && shown.has(label) && colour.some(Boolean) ? [...colour, 255] : [0, 0, 0, 0];
  };
}

/**
 * Opaque white where a label is one of `classes`, clear elsewhere.
 * @param {Set<number>} classes
 * @returns {(label: number) => [number, number, number, number]}
 */
export function maskColours(classes) {
  return (label) => (classes.has(label) ? [255, 255, 255, 255] : [0, 0, 0, 0]);
}
