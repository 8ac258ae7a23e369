// The previous labels on their way to the next frame, as tests/core has it for Python.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { planGeometry } from '../src/geometry.js';
import { preprocess } from '../src/preprocess.js';
import { PriorState, UNKNOWN, carryLabels } from '../src/prior.js';
import { drawPicture } from '../src/vectors.js';

const SPEC = {
  size_hw: [4, 4], color: 'rgb', resize: 'letterbox', interpolation: 'linear_exact', reduce: 'none', pad_value: 0,
  scale: 1 / 255, mean: [0, 0, 0, 0], std: [1, 1, 1, 0.25], layout: 'nchw', dtype: 'float32', version: 2,
  prior: 'previous_labels', prior_values: [85, 170, 255],
};
const wide = { height: 4, width: 8 };
const labels = Uint8Array.from({ length: 16 }, (_, i) => i % 3);

test('the last channel is the table of the labels, and zero where nothing is known', () => {
  const image = drawPicture(1, 4, 8);
  const { tensor } = preprocess(SPEC, image, null, () => Uint8Array.of(...labels.subarray(0, 14), 3, UNKNOWN));
  const values = [85, 170, 255].map((value) => Math.fround(Math.fround(value * Math.fround(1 / 255)) / 0.25));
  assert.deepEqual([...tensor.subarray(48)], [...Array.from(labels.subarray(0, 14), (label) => values[label]), 0, 0]);
  assert.deepEqual(tensor.subarray(0, 48), preprocess(SPEC, image).tensor.subarray(0, 48));
  assert.ok(preprocess(SPEC, image).tensor.subarray(48).every((value) => value === 0));
});

test('the same geometry takes labels as they are, padding unknown', () => {
  const geometry = planGeometry(wide, SPEC); // 2 rows of content between a row of padding each
  const carried = carryLabels(labels, geometry, planGeometry(wide, SPEC));
  assert.deepEqual([...carried.subarray(4, 12)], [...labels.subarray(4, 12)]);
  assert.ok([...carried.subarray(0, 4), ...carried.subarray(12)].every((label) => label === UNKNOWN));
});

test('another region goes through source size, what was outside is unknown', () => {
  const left = planGeometry(wide, SPEC, { top: 0, left: 0, height: 4, width: 4 });
  const right = planGeometry(wide, SPEC, { top: 0, left: 2, height: 4, width: 4 });
  const carried = carryLabels(labels, left, right);
  for (let y = 0; y < 4; y++) {
    assert.deepEqual([...carried.subarray(y * 4, y * 4 + 4)], [labels[y * 4 + 2], labels[y * 4 + 3], UNKNOWN, UNKNOWN]);
  }
});

test('another size, the first frame and a cut begin anew', () => {
  const geometry = planGeometry(wide, SPEC);
  assert.equal(carryLabels(labels, geometry, planGeometry({ height: 8, width: 8 }, SPEC)), null);
  const plain = (/** @type {number} */ value) => ({ data: new Uint8Array(128).fill(value), ...wide });
  const state = new PriorState();
  assert.equal(state.recall(plain(100), geometry), null);
  state.keep(labels, geometry);
  assert.notEqual(state.recall(plain(110), geometry), null);
  assert.equal(state.recall(plain(140), geometry), null); // a cut
  state.keep(labels, geometry);
  state.reset();
  assert.equal(state.recall(plain(140), geometry), null);
});
