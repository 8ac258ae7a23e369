// Before a backend is trusted: does the preprocessing give the golden vectors, and the network Python's labels?

import { GOLDEN_PICTURE, LARGEST_SHARE, LEAST_AGREEMENT } from './protocol.js';
import { postprocess } from './postprocess.js';
import { preprocess } from './preprocess.js';
import { checkVectors, drawPicture, hashBytes } from './vectors.js';

/** @typedef {import('./protocol.js').Golden} Golden */

/**
 * Label the golden picture.
 * @param {import('./manifest.js').Manifest} manifest
 * @param {import('./protocol.js').Runtime} runtime
 * @param {{seed: number, source_hw: [number, number]}} [picture]
 */
export async function labelGolden(manifest, runtime, { seed, source_hw } = GOLDEN_PICTURE) {
  const { tensor, geometry } = preprocess(manifest.preprocess, drawPicture(seed, ...source_hw));
  const hash = hashBytes(tensor);
  const values = await runtime.run(tensor);
  const labels = postprocess(manifest.postprocess, manifest.outputs[0], values, geometry).network;
  return { hash, labels };
}

/**
 * Share of equal values of two label maps.
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 */
export function agreementOf(a, b) {
  if (a.length !== b.length) return 0;
  let equal = 0;
  for (let i = 0; i < a.length; i++) equal += Number(a[i] === b[i]);
  return equal / a.length;
}

/**
 * Whether labels that a backend gives right are told apart from one class everywhere.
 * @param {Uint8Array} labels
 */
export function tellSomething(labels) {
  const counts = new Uint32Array(256);
  for (const label of labels) counts[label]++;
  return Math.max(...counts) <= LARGEST_SHARE * labels.length;
}

/**
 * Check a backend; throws when it must not be used.
 * @param {import('./protocol.js').OpenRequest} request
 * @param {import('./protocol.js').Runtime} runtime
 * @returns {Promise<import('./protocol.js').SelfCheck>}
 */
export async function selfCheck({ manifest, vectors, golden }, runtime) {
  const rows = checkVectors(vectors);
  const { hash, labels } = await labelGolden(manifest, runtime, golden ?? GOLDEN_PICTURE);
  if (golden === null) return { vectors: rows, agreement: null, uniform: false };
  if (golden.tensor_fnv1a64 !== null && golden.tensor_fnv1a64 !== hash) {
    throw new Error(`the golden picture's tensor has the hash ${hash} instead of ${golden.tensor_fnv1a64}`);
  }
  const agreement = agreementOf(labels, golden.labels);
  if (agreement < LEAST_AGREEMENT) {
    throw new Error(`labels agree on ${(100 * agreement).toFixed(1)} % of the golden picture, too few to be trusted`);
  }
  const uniform = !tellSomething(golden.labels);
  return { vectors: rows, agreement: uniform ? null : agreement, uniform };
}
