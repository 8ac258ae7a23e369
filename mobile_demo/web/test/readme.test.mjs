// The example for pages of one's own, run as it stands but for the runtime and the picture.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { MANIFEST } from './material.mjs';

test('the example of the README labels a picture', async () => {
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
  const [, example] = /```js\n([\s\S]*?)```/.exec(readme) ?? [];
  const sources = new URL('../src/', import.meta.url).href;
  const code = example.replaceAll("from './", `from '${sources}`);
  const manifest = structuredClone(MANIFEST);
  Object.assign(globalThis, {
    context: { getImageData: (/** @type {number[]} */ ...[, , width, height]) => ({ width, height, data: new Uint8ClampedArray(width * height * 4) }) },
    width: 12,
    height: 16,
    fetch: async () => ({ text: async () => JSON.stringify(manifest) }),
    yourRuntime: async (/** @type {Float32Array} */ tensor, /** @type {number[]} */ shape) => {
      assert.equal(tensor.length, shape.reduce((a, b) => a * b));
      return Float32Array.from({ length: 2 * 8 * 6 }, (_, i) => Number(i >= 48)); // class 1 everywhere
    },
  });
  const url = `data:text/javascript,${encodeURIComponent(`${code}\nexport { labels };`)}`;
  const { labels } = await import(url);
  assert.deepEqual(labels, new Uint8Array(12 * 16).fill(1));
});
