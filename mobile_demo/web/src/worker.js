// A classic worker, because LiteRT.js loads its WebAssembly by importScripts, which module workers lack.
// All it does is hand messages to the module that does the work.

const labeller = import('./labeller.js');

self.addEventListener('message', async (event) => {
  const { id } = event.data;
  try {
    const { handle } = await labeller;
    const { value, transfer } = await handle(event.data);
    self.postMessage({ id, value }, { transfer });
  } catch (error) {
    self.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
});
