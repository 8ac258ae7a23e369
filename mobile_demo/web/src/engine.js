// The page's side: fetch and verify the artifact, then try backends, fastest first, until one passes its self-check.
// Every attempt has a worker of its own, so that one that failed leaves nothing behind.

import { GOLDEN_PICTURE } from './protocol.js';
import { ManifestError, parseManifest, verifyArtifact } from './manifest.js';

/** @typedef {import('./protocol.js').Backend} Backend */
/** @typedef {import('./manifest.js').Manifest} Manifest */

/**
 * What the server offers (demo.json): URLs relative to the page.
 * @typedef {{model: string, manifest: string, golden: string | null, vectors: string, runtimes: Record<string, string>, fallbacks: string[]}} Demo
 */

/** A worker that answers one message at a time with a promise. */
class Labeller {
  #worker = new Worker(new URL('./worker.js', import.meta.url), { name: 'labeller' });
  #count = 0;
  /** @type {Map<number, {resolve: (value: any) => void, reject: (reason: Error) => void}>} */
  #waiting = new Map();

  constructor() {
    this.#worker.addEventListener('message', (event) => {
      const { id, value, error } = /** @type {import('./protocol.js').Reply} */ (event.data);
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(value);
      else waiting?.reject(new Error(error));
    });
    this.#worker.addEventListener('error', (event) => {
      event.preventDefault();
      this.#fail(event.message || 'the worker could not be started');
    });
  }

  /** @param {string} reason */
  #fail(reason) {
    for (const { reject } of this.#waiting.values()) reject(new Error(reason));
    this.#waiting.clear();
  }

  /**
   * @param {import('./protocol.js').OpenRequest | import('./protocol.js').LabelRequest | import('./protocol.js').GoldenRequest} request
   * @param {Transferable[]} [transfer]
   * @returns {Promise<any>}
   */
  ask(request, transfer = []) {
    const id = ++this.#count;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ ...request, id }, transfer);
    });
  }

  close() {
    this.#worker.terminate();
    this.#fail('closed');
  }
}

/**
 * A network that is ready to label pictures.
 * @typedef {object} Engine
 * @property {Manifest} manifest
 * @property {Backend} backend
 * @property {number} threads
 * @property {boolean} verified whether the artifact's hash was compared
 * @property {import('./protocol.js').SelfCheck} check
 * @property {string[]} refused backends that were tried before, and why not
 * @property {(pixels: ImageData, roi: import('./geometry.js').Rect | null, live: boolean) => Promise<import('./protocol.js').Labelled>} label
 * @property {() => void} close
 */

/**
 * Open the network that `demo` offers on the fastest backend that works.
 * @param {Demo} demo
 * @param {{backend?: Backend | null, report?: (text: string, share?: number) => void}} [options]
 * @returns {Promise<Engine>}
 */
export async function openEngine(demo, { backend = null, report = () => {} } = {}) {
  report('Reading the manifest');
  const manifest = parseManifest(await fetchText(demo.manifest));
  const runtime = demo.runtimes[manifest.artifact.target];
  if (!runtime) throw new ManifestError(`${manifest.artifact.file}: no runtime for ${manifest.artifact.target} here`);
  const { bytes, verified } = await fetchArtifact(demo.model, manifest, report);
  const vectors = await fetchText(demo.vectors);
  const golden = demo.golden ? await fetchGolden(demo.golden) : null;
  const backends = backend ? [backend] : await listBackends();
  const base = { type: /** @type {const} */ ('open'), manifest, bytes, runtime: absolute(runtime), vectors };
  /** @type {string[]} */
  const refused = [];
  for (const name of backends) {
    report(`Starting ${NAMES[name]}`);
    const threads = name === 'wasm-threads' ? countThreads() : 1;
    const labeller = new Labeller();
    try {
      if (threads > 1 && !crossOriginIsolated) throw new Error('threads need a cross-origin isolated page');
      const expected = golden ?? (name === 'webgpu' ? await labelOnWasm(base) : null);
      const opening = labeller.ask({ ...base, backend: name, threads, golden: expected });
      const check = await (name === backends.at(-1) ? opening : soon(opening));
      return makeEngine(labeller, { manifest, backend: name, threads, verified, check, refused });
    } catch (error) {
      labeller.close();
      refused.push(`${NAMES[name]}: ${/** @type {Error} */ (error).message}`);
    }
  }
  throw new Error(`the network does not run here. ${refused.join(' — ')}`);
}

/** How long a backend may take to start where another can be tried. */
const PATIENCE_MS = 30_000;

/**
 * Browsers now and then start threads or a GPU and hear no more of them.
 * @template T
 * @param {Promise<T>} opening
 * @returns {Promise<T>}
 */
function soon(opening) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`did not start within ${PATIENCE_MS / 1000} s`)), PATIENCE_MS);
  });
  return Promise.race([opening, /** @type {Promise<never>} */ (late)]);
}

/** @type {Record<Backend, string>} */
export const NAMES = { webgpu: 'WebGPU', 'wasm-threads': 'WebAssembly threads', wasm: 'WebAssembly' };

/**
 * @param {Labeller} labeller
 * @param {Omit<Engine, 'label' | 'close'>} facts
 * @returns {Engine}
 */
function makeEngine(labeller, facts) {
  return {
    ...facts,
    label: ({ data, height, width }, roi, live) =>
      labeller.ask({ type: 'label', pixels: data.buffer, height, width, roi, live }, [data.buffer]),
    close: () => labeller.close(),
  };
}

/**
 * Without Python's labels the plain WebAssembly backend says what a GPU must find.
 * @param {Omit<import('./protocol.js').OpenRequest, 'backend' | 'threads' | 'golden'>} base
 * @returns {Promise<import('./protocol.js').Golden>}
 */
async function labelOnWasm(base) {
  const labeller = new Labeller();
  try {
    await labeller.ask({ ...base, backend: 'wasm', threads: 1, golden: null });
    return { ...GOLDEN_PICTURE, tensor_fnv1a64: null, labels: await labeller.ask({ type: 'golden' }) };
  } finally {
    labeller.close();
  }
}

/** The backends that this browser may have, fastest first. */
async function listBackends() {
  /** @type {Backend[]} */
  const backends = ['wasm'];
  if (crossOriginIsolated && countThreads() > 1) backends.unshift('wasm-threads');
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    // A fallback adapter is a processor that plays a GPU, slower than WebAssembly on the same processor.
    if (adapter && !adapter.info?.isFallbackAdapter) backends.unshift('webgpu');
  } catch {
    // A browser that has the interface but no GPU may throw: it has no such backend then.
  }
  return backends;
}

/** Threads beyond four gain little on networks of this size and heat a phone. */
function countThreads() {
  return Math.max(1, Math.min(4, navigator.hardwareConcurrency || 1));
}

/** @param {string} url */
function absolute(url) {
  return new URL(url, document.baseURI).href;
}

/** @param {string} url @param {RequestInit} [options] */
async function get(url, options) {
  const response = await fetch(absolute(url), options);
  if (!response.ok) throw new Error(`${url}: the server answered ${response.status} ${response.statusText}`);
  return response;
}

/** @param {string} url */
async function fetchText(url) {
  return (await get(url)).text();
}

/** @param {string} url @returns {Promise<import('./protocol.js').Golden>} */
async function fetchGolden(url) {
  const { labels, ...rest } = await (await get(url)).json();
  return { ...rest, labels: Uint8Array.from(atob(labels), (character) => character.charCodeAt(0)) };
}

/**
 * @param {string} url
 * @param {Manifest} manifest
 * @param {(text: string, share?: number) => void} report
 */
async function fetchArtifact(url, manifest, report) {
  const size = manifest.artifact.bytes;
  try {
    const bytes = await download(url, size, report, 'default');
    return { bytes, verified: await verifyArtifact(manifest, bytes) };
  } catch (error) {
    if (!(error instanceof ManifestError)) throw error;
    // What was wrong once may have been kept by a cache; the server is asked again before anything is said.
    const bytes = await download(url, size, report, 'reload');
    return { bytes, verified: await verifyArtifact(manifest, bytes) };
  }
}

/**
 * @param {string} url
 * @param {number | null} size expected bytes
 * @param {(text: string, share?: number) => void} report
 * @param {RequestCache} cache
 * @returns {Promise<ArrayBuffer>}
 */
async function download(url, size, report, cache) {
  const response = await get(url, { cache });
  const total = size ?? Number(response.headers.get('Content-Length'));
  if (!response.body || !total) return response.arrayBuffer();
  const megabytes = (total / 1e6).toFixed(1);
  /** @type {Uint8Array[]} */
  const parts = [];
  let loaded = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    loaded += value.length;
    report(`Loading the network (${megabytes} MB)`, Math.min(1, loaded / total));
  }
  return new Blob(/** @type {BlobPart[]} */ (parts)).arrayBuffer();
}
