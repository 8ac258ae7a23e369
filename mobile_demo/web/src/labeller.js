// The worker's side: one network on one backend, labelling one picture after the other.

import { hasPrior } from './manifest.js';
import { postprocess } from './postprocess.js';
import { preprocess } from './preprocess.js';
import { PriorState } from './prior.js';
import { labelGolden, selfCheck } from './selfcheck.js';

/** @typedef {import('./protocol.js').Request} Request */

/** @type {{manifest: import('./manifest.js').Manifest, runtime: import('./protocol.js').Runtime} | null} */
let opened = null;

/** For networks that are told their last answer. */
const memory = new PriorState();

/**
 * Answer one message.
 * @param {Request} request
 * @returns {Promise<{value: unknown, transfer: Transferable[]}>}
 */
export async function handle(request) {
  if (request.type === 'open') return { value: await open(request), transfer: [] };
  if (opened === null) throw new Error('no network is open');
  if (request.type === 'golden') {
    const { labels } = await labelGolden(opened.manifest, opened.runtime);
    return { value: labels, transfer: [] };
  }
  const value = await label(request, opened);
  return { value, transfer: [value.source.buffer, value.network.buffer] };
}

/** @param {import('./protocol.js').OpenRequest} request */
async function open(request) {
  const { target } = request.manifest.artifact;
  const runtime =
    target === 'onnx'
      ? await (await import('./runtime-ort.js')).openOrt(request)
      : await (await import('./runtime-litert.js')).openLiteRt(request);
  const check = await selfCheck(request, runtime);
  opened = { manifest: request.manifest, runtime };
  return check;
}

/**
 * @param {import('./protocol.js').LabelRequest} request
 * @param {NonNullable<typeof opened>} network
 * @returns {Promise<import('./protocol.js').Labelled>}
 */
async function label({ pixels, height, width, roi, live }, { manifest, runtime }) {
  const start = performance.now();
  const image = { data: new Uint8Array(pixels), height, width };
  if (!live) memory.reset();
  const recall = (/** @type {import('./geometry.js').Geometry} */ geometry) => memory.recall(image, geometry);
  const { tensor, geometry } = preprocess(manifest.preprocess, image, roi, live ? recall : null);
  const prepared = performance.now();
  const values = await runtime.run(tensor);
  const inferred = performance.now();
  const labels = postprocess(manifest.postprocess, manifest.outputs[0], values, geometry);
  if (live && hasPrior(manifest.preprocess)) memory.keep(labels.network, geometry);
  const done = performance.now();
  const timings = { pre_ms: prepared - start, infer_ms: inferred - prepared, post_ms: done - inferred };
  return { ...labels, geometry, timings };
}
