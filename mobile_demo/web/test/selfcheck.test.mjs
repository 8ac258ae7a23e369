// What a backend must show before it is trusted, and what does not count as showing it.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { preprocess } from '../src/preprocess.js';
import { GOLDEN_PICTURE, LARGEST_SHARE, LEAST_AGREEMENT } from '../src/protocol.js';
import { selfCheck } from '../src/selfcheck.js';
import { drawPicture, hashBytes } from '../src/vectors.js';

const text = await readFile(new URL('../../vectors/vectors.csv', import.meta.url), 'utf8');
const vectors = text.split('\n').slice(0, 2).join('\n');
const manifest = {
  preprocess: {
    size_hw: [4, 4], color: 'rgb', resize: 'stretch', interpolation: 'linear_exact', reduce: 'none', pad_value: 0,
    scale: 1, mean: [0, 0, 0], std: [1, 1, 1], layout: 'nchw', dtype: 'float32', version: 1,
  },
  postprocess: { resize: 'labels', outside_label: 0 },
  outputs: [{ name: 'scores', role: 'logits', shape: [1, 2, 4, 4], dtype: 'float32', layout: 'nchw' }],
};
const hash = hashBytes(preprocess(manifest.preprocess, drawPicture(GOLDEN_PICTURE.seed, ...GOLDEN_PICTURE.source_hw)).tensor);

/** @param {number[]} labels that the runtime gives */
const runtimeOf = (labels) => ({ run: async () => Float32Array.from([...labels.map(() => 0), ...labels.map((l) => (l ? 1 : -1))]) });
/** @param {number[]} labels */
const goldenOf = (labels) => ({ ...GOLDEN_PICTURE, tensor_fnv1a64: hash, labels: Uint8Array.from(labels) });
const mixed = Array.from({ length: 16 }, (_, i) => i % 2);
const zeros = mixed.map(() => 0);

test('labels of two classes prove a backend, and refuse one that gives the same everywhere', async () => {
  const request = { manifest, vectors, golden: goldenOf(mixed) };
  assert.deepEqual(await selfCheck(request, runtimeOf(mixed)), { vectors: 1, agreement: 1, uniform: false });
  await assert.rejects(selfCheck(request, runtimeOf(zeros)), /agree on 50.0 %/);
  assert.ok(LARGEST_SHARE < LEAST_AGREEMENT);
});

test('labels of one class prove nothing, though others are refused', async () => {
  const request = { manifest, vectors, golden: goldenOf(zeros) };
  assert.deepEqual(await selfCheck(request, runtimeOf(zeros)), { vectors: 1, agreement: null, uniform: true });
  await assert.rejects(selfCheck(request, runtimeOf(mixed)), /agree on 50.0 %/);
});

test('without golden labels nothing is compared', async () => {
  const found = await selfCheck({ manifest, vectors, golden: null }, runtimeOf(zeros));
  assert.deepEqual(found, { vectors: 1, agreement: null, uniform: false });
});
