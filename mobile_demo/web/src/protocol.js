// What the page and its worker say to one another.

/** @typedef {import('./manifest.js').Manifest} Manifest */
/** @typedef {'webgpu' | 'wasm-threads' | 'wasm'} Backend */

/**
 * What Python found on a drawn picture: the input tensor's hash and the labels at the network's size.
 * @typedef {{seed: number, source_hw: [number, number], tensor_fnv1a64: string | null, labels: Uint8Array}} Golden
 */

/**
 * @typedef {object} OpenRequest
 * @property {'open'} type
 * @property {Manifest} manifest
 * @property {ArrayBuffer} bytes of the artifact
 * @property {Backend} backend
 * @property {number} threads
 * @property {string} runtime URL of the directory of the runtime's files
 * @property {string} vectors text of vectors.csv
 * @property {Golden | null} golden
 */

/**
 * @typedef {object} LabelRequest
 * @property {'label'} type
 * @property {ArrayBuffer} pixels RGBA
 * @property {number} height
 * @property {number} width
 * @property {import('./geometry.js').Rect | null} roi
 * @property {boolean} live whether it follows the picture before
 */

/** Ask for the labels of the golden picture. @typedef {{type: 'golden'}} GoldenRequest */

/**
 * Rows of the golden vectors, and the share of labels that were as expected: null where there were none to compare
 * with, or where what was expected is one class (`uniform`), so that agreement proves nothing.
 * @typedef {{vectors: number, agreement: number | null, uniform: boolean}} SelfCheck
 */

/** @typedef {{pre_ms: number, infer_ms: number, post_ms: number}} Timings */

/**
 * @typedef {object} Labelled
 * @property {Uint8Array} network labels at the network's size, padding included
 * @property {Uint8Array} source labels at the picture's size
 * @property {import('./geometry.js').Geometry} geometry
 * @property {Timings} timings
 */

/**
 * A network that is ready: tensor in, values of the first output out.
 * @typedef {object} Runtime
 * @property {(tensor: Float32Array | Uint8Array) => Promise<import('./postprocess.js').Values>} run
 * @property {() => Promise<void>} close
 */

/** @typedef {(OpenRequest | LabelRequest | GoldenRequest) & {id: number}} Request */
/** @typedef {{id: number, value?: unknown, error?: string}} Reply */

/** The picture that every backend labels before it is trusted: small, so that the contract's resize smooths it. */
export const GOLDEN_PICTURE = { seed: 20, source_hw: /** @type {[number, number]} */ ([12, 9]) };

/** Share of equal labels below which a backend is not used. Half-precision GPUs reach 0.99 on that picture. */
export const LEAST_AGREEMENT = 0.98;

/** Share of one class beyond which labels tell nothing: that class everywhere would nearly be agreement. */
export const LARGEST_SHARE = 0.95;
