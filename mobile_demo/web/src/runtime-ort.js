// ONNX Runtime Web behind the interface that worker.js wants.

/** @typedef {import('./protocol.js').Runtime} Runtime */
/** @typedef {import('./protocol.js').OpenRequest} OpenRequest */

/**
 * Open an ONNX artifact.
 * @param {OpenRequest} request
 * @returns {Promise<Runtime>}
 */
export async function openOrt({ bytes, manifest, backend, threads, runtime }) {
  // Two builds: the one with WebGPU is twice as large and only fetched where there is a GPU to drive.
  const build = backend === 'webgpu' ? 'ort.webgpu.bundle.min.mjs' : 'ort.wasm.bundle.min.mjs';
  const ort = /** @type {typeof import('onnxruntime-web')} */ (await import(new URL(build, runtime).href));
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = 'error';
  const session = await ort.InferenceSession.create(new Uint8Array(bytes), {
    executionProviders: [backend === 'webgpu' ? 'webgpu' : 'wasm'],
    graphOptimizationLevel: 'all',
  });
  const [input] = manifest.inputs;
  const [output] = manifest.outputs;
  if (!session.inputNames.includes(input.name) || !session.outputNames.includes(output.name)) {
    throw new Error(
      `${manifest.artifact.file} has ${session.inputNames} -> ${session.outputNames}, ` +
        `its manifest says ${input.name} -> ${output.name}`,
    );
  }
  const type = /** @type {'float32' | 'uint8'} */ (input.dtype);
  return {
    async run(tensor) {
      const feed = new ort.Tensor(type, /** @type {never} */ (tensor), input.shape);
      const results = await session.run({ [input.name]: feed }, [output.name]);
      const values = await results[output.name].getData(true);
      feed.dispose();
      return /** @type {import('./postprocess.js').Values} */ (values);
    },
    close: () => session.release(),
  };
}
