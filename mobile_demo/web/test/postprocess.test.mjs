// Scores to labels: ties, layouts, fractions of the input's size, and what must be refused.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { planGeometry } from '../src/geometry.js';
import { argmaxPixels, argmaxPlanes, postprocess, resizeBilinear } from '../src/postprocess.js';

const SPEC = { size_hw: [2, 4], resize: 'stretch' };
const geometry = planGeometry({ height: 2, width: 4 }, SPEC);

/** @param {Partial<Record<string, unknown>>} changes */
const output = (changes = {}) => ({ name: 'y', role: 'logits', shape: [1, 3, 2, 4], dtype: 'float32', layout: 'nchw', ...changes });
const labels = { resize: 'labels', outside_label: 7 };

test('ties go to the lower class', () => {
  assert.deepEqual([...argmaxPlanes(Float32Array.of(1, 0, 2, 1, 5, 2, 0, 5, 9), 3, 3)], [0, 1, 2]);
  assert.deepEqual([...argmaxPixels(Float32Array.of(1, 1, 0, 0, 5, 5, 2, 2, 9), 3)], [0, 1, 2]);
});

test('NaN and infinity are refused, wherever they are', () => {
  for (const wrong of [NaN, Infinity, -Infinity]) {
    for (let place = 0; place < 6; place++) {
      const planes = new Float32Array(6).fill(1);
      planes[place] = wrong;
      assert.throws(() => argmaxPlanes(planes, 2, 3), /NaN or infinity/);
      assert.throws(() => argmaxPixels(planes, 3), /NaN or infinity/);
    }
  }
});

test('both layouts give the same labels', () => {
  const nchw = Float32Array.from({ length: 24 }, (_, i) => Math.sin(i * 7));
  const nhwc = Float32Array.from({ length: 24 }, (_, i) => nchw[(i % 3) * 8 + Math.floor(i / 3)]);
  const first = postprocess(labels, output(), nchw, geometry);
  const second = postprocess(labels, output({ shape: [1, 2, 4, 3], layout: 'nhwc' }), nhwc, geometry);
  assert.deepEqual(first, second);
  assert.equal(new Set(first.source).size, 3);
});

test('labels of the graph may be of any integer type', () => {
  const wanted = [0, 1, 2, 3, 4, 5, 6, 255];
  for (const values of [Uint8Array.from(wanted), Int32Array.from(wanted), BigInt64Array.from(wanted.map(BigInt))]) {
    const found = postprocess(labels, output({ role: 'labels', shape: [1, 2, 4], layout: 'nhw' }), values, geometry);
    assert.deepEqual([...found.source], wanted);
  }
  const beyond = Int32Array.from([...wanted.slice(1), 256]);
  const spec = output({ role: 'labels', shape: [1, 2, 4], layout: 'nhw' });
  assert.throws(() => postprocess(labels, spec, beyond, geometry), /256 is beyond/);
  assert.throws(() => postprocess(labels, spec, Int32Array.from([...wanted.slice(1), -1]), geometry), /-1 is beyond/);
});

test('an output at half the size is repeated, and one of no fraction refused', () => {
  const half = output({ role: 'labels', shape: [1, 1, 2], layout: 'nhw' });
  assert.deepEqual([...postprocess(labels, half, Uint8Array.of(1, 2), geometry).source], [1, 1, 2, 2, 1, 1, 2, 2]);
  const odd = output({ role: 'labels', shape: [1, 2, 3], layout: 'nhw' });
  assert.throws(() => postprocess(labels, odd, new Uint8Array(6), geometry), /no whole fraction/);
  assert.throws(() => postprocess(labels, half, new Uint8Array(3), geometry), /3 values, 2 expected/);
});

test('pixels outside the region get their label', () => {
  const placed = planGeometry({ height: 3, width: 5 }, SPEC, { top: 1, left: 1, height: 2, width: 4 });
  const spec = output({ role: 'labels', shape: [1, 2, 4], layout: 'nhw' });
  const found = postprocess(labels, spec, new Uint8Array(8).fill(3), placed);
  assert.deepEqual([...found.source], [7, 7, 7, 7, 7, 7, 3, 3, 3, 3, 7, 3, 3, 3, 3]);
  const logits = Float32Array.from({ length: 24 }, (_, i) => Number(i >= 16)); // class 2 everywhere
  const soft = postprocess({ resize: 'logits', outside_label: 7 }, output(), logits, placed);
  assert.deepEqual([...soft.source], [7, 7, 7, 7, 7, 7, 2, 2, 2, 2, 7, 2, 2, 2, 2]);
});

test('regions beyond the picture are refused', () => {
  const beyond = { top: 0, left: 0, height: 3, width: 4 };
  assert.throws(() => planGeometry({ height: 2, width: 4 }, SPEC, beyond), /not inside the picture of 2x4/);
  assert.throws(() => planGeometry({ height: 2, width: 4 }, SPEC, { ...beyond, height: 1.5 }), /not inside/);
});

test('bilinear resizing is that of OpenCV', () => {
  const plane = Float32Array.of(0, 1, 2, 5, 3, -1, 4, 0.5, 2, 2, 8, -3);
  // cv2.resize(plane, (7, 5), interpolation=cv2.INTER_LINEAR)
  const wanted = [
    0, 0.35714287, 0.9285714, 1.5, 2.2142856, 3.9285715, 5, 1.2, 0.8428571, 0.27142856, 1.5, 2.8285713, 3.057143, 3.2,
    3, 1.5714285, -0.7142856, 1.5, 3.75, 1.75, 0.5, 2.4, 1.8285714, 0.91428584, 3.6000001, 5.8285718, 1.2571429,
    -1.6000001, 2, 2, 2, 5, 7.214286, 0.9285715, -3,
  ];
  const found = resizeBilinear(plane, { height: 3, width: 4 }, { height: 5, width: 7 });
  assert.equal(found.length, wanted.length);
  found.forEach((value, i) => assert.ok(Math.abs(value - wanted[i]) < 2e-6, `${i}: ${value} ${wanted[i]}`));
});

test('where scores are resized, those of a fraction are enlarged before the largest is taken, at the network\'s size too', () => {
  const logits = { resize: 'logits', outside_label: 7 };
  const small = { height: 2, width: 4 };
  const whole = { height: 8, width: 16 };
  const wide = planGeometry(whole, { size_hw: [8, 16], resize: 'stretch' });
  const scores = Float32Array.from({ length: 24 }, (_, i) => Math.sin(i * 7));
  const planes = [0, 1, 2].map((c) => resizeBilinear(scores.subarray(c * 8, c * 8 + 8), small, whole));
  const wanted = Array.from({ length: 128 }, (_, i) => {
    const pixel = planes.map((plane) => plane[i]);
    return pixel.indexOf(Math.max(...pixel));
  });
  const found = postprocess(logits, output(), scores, wide);
  assert.deepEqual([...found.network], wanted);
  assert.deepEqual([...found.source], wanted);
  const repeated = postprocess(labels, output(), scores, wide).network;
  assert.notDeepEqual([...repeated], wanted);
  scores[5] = NaN;
  assert.throws(() => postprocess(logits, output(), scores, wide), /NaN or infinity/);
});
