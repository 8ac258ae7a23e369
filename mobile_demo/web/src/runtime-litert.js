// LiteRT.js behind the interface that worker.js wants.

/** @typedef {import('./protocol.js').Runtime} Runtime */
/** @typedef {import('./protocol.js').OpenRequest} OpenRequest */

/**
 * Open a TFLite artifact.
 * @param {OpenRequest} request
 * @returns {Promise<Runtime>}
 */
export async function openLiteRt({ bytes, manifest, backend, threads, runtime }) {
  const litert = /** @type {typeof import('@litertjs/core')} */ (await import(new URL('index.js', runtime).href));
  // In a worker its scripts would look for the rest beside the worker's own; Emscripten asks this object instead.
  const wasm = new URL('wasm/', runtime).href;
  const locations = {
    locateFile: (/** @type {string} */ name) => wasm + name,
    mainScriptUrlOrBlob: `${wasm}litert_wasm_threaded_internal.js`,
  };
  Object.assign(self, { Module: locations });
  await litert.loadLiteRt(wasm, { threads: threads > 1 });
  const model = await litert.loadAndCompile(new Uint8Array(bytes), {
    accelerator: backend === 'webgpu' ? 'webgpu' : 'wasm',
    ...(backend === 'webgpu' ? {} : { cpuOptions: { numThreads: threads } }),
  });
  // LiteRT.js goes on without the GPU when it cannot give it all of the network; the page then prefers threads.
  if (backend === 'webgpu' && !(model.options.accelerator === 'webgpu' && model.isFullyAccelerated)) {
    throw new Error('LiteRT.js cannot run all of this network on the GPU');
  }
  const [{ dtype, shape }] = manifest.inputs;
  if (dtype !== 'float32') throw new Error(`${manifest.artifact.file}: this page feeds float32 to LiteRT, not ${dtype}`);
  return {
    async run(tensor) {
      const input = new litert.Tensor(/** @type {Float32Array} */ (tensor), shape);
      /** @type {import('@litertjs/core').Tensor[]} */
      let results = [];
      try {
        results = await model.run([input]);
        // A copy: the memory of the tensor is given back below.
        return /** @type {import('./postprocess.js').Values} */ ((await results[0].data()).slice());
      } finally {
        for (const each of [input, ...results]) each.delete();
      }
    },
    close: async () => model.delete(),
  };
}
