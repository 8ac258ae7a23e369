// What holds for the page's sources as a whole, and its small pieces of logic.

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { test } from 'node:test';

import { findBackground, listParts, shareOfClasses } from '../src/parts.js';
import { moveRegion, placeRegion } from '../src/region.js';
import { agreementOf } from '../src/selfcheck.js';

const web = new URL('../', import.meta.url);
const read = (/** @type {string} */ path) => readFile(new URL(path, web), 'utf8');

test('the service worker keeps every file of the page', async () => {
  const [, shell] = /const SHELL = \[([^\]]*)\]/.exec(await read('sw.js')) ?? [];
  const kept = new Set(Array.from(shell.matchAll(/'([^']+)'/g), ([, path]) => path));
  const page = ['./', 'styles.css', 'manifest.webmanifest', 'vectors.csv', 'demo.json'];
  const sources = (await readdir(new URL('src/', web))).map((name) => `src/${name}`);
  const icons = (await readdir(new URL('icons/', web))).map((name) => `icons/${name}`);
  assert.deepEqual(kept, new Set([...page, ...sources, ...icons]));
});

test('nothing is loaded from elsewhere', async () => {
  for (const path of ['index.html', 'styles.css', 'sw.js', ...(await readdir(new URL('src/', web))).map((n) => `src/${n}`)]) {
    const text = (await read(path)).replaceAll('http://www.w3.org/2000/svg', '');
    assert.doesNotMatch(text, /https?:\/\/|(src|href)="\/\//, path);
    assert.doesNotMatch(text, /\bstyle="|\son[a-z]+="|innerHTML|\beval\(/, path); // the policy forbids them
  }
});

test('every control has a label', async () => {
  const html = await read('index.html');
  const controls = [...html.matchAll(/<(?:input|select)[^>]*\bid="([^"]+)"/g)].map(([, id]) => id);
  assert.ok(controls.length > 10);
  for (const id of controls) assert.match(html, new RegExp(`<label[^>]* for="${id}"`), id);
});

test('parts join classes that differ in side alone', () => {
  const parts = listParts(['background', 'left_eye', 'right_eye', 'upper_lip', 'lower_lip', 'left_ear', 'hair']);
  assert.deepEqual(parts.slice(0, 2), [{ name: 'eyes', classes: [1, 2] }, { name: 'lips', classes: [3, 4] }]);
  assert.deepEqual(parts.slice(2).map(({ classes }) => classes), [[0], [1], [2], [3], [4], [5], [6]]);
  assert.ok(parts.some(({ name }) => name === 'left ear') && !parts.some(({ name }) => name === 'ears'));
});

test('the background is found by name, then by the contract', () => {
  assert.equal(findBackground(['skin', 'Background'], 0), 1);
  assert.equal(findBackground(['road', 'sky'], 1), 1);
  assert.equal(findBackground(['road', 'sky'], 255), 1);
});

test('shares are counted by class', () => {
  assert.deepEqual(shareOfClasses(Uint8Array.of(0, 1, 1, 255), 3), [0.25, 0.5, 0]);
  assert.equal(agreementOf(Uint8Array.of(1, 2, 3, 4), Uint8Array.of(1, 2, 0, 4)), 0.75);
  assert.equal(agreementOf(Uint8Array.of(1), Uint8Array.of(1, 1)), 0);
});

test('a region has the shape of the network and stays inside', () => {
  const source = { height: 480, width: 640 };
  const centred = { kind: 'square', zoom: 1, x: 0.5, y: 0.5 };
  assert.equal(placeRegion({ ...centred, kind: 'whole' }, source, [256, 256]), null);
  assert.deepEqual(placeRegion(centred, source, [256, 256]), { top: 0, left: 80, height: 480, width: 480 });
  assert.deepEqual(placeRegion({ ...centred, zoom: 2 }, source, [256, 512]), { top: 160, left: 160, height: 160, width: 320 });
  for (const [x, y] of [[-3, -3], [0, 0], [0.99, 0.01], [7, 7]]) {
    for (const zoom of [1, 1.37, 4]) {
      const rect = placeRegion({ ...centred, zoom, x, y }, source, [256, 192]);
      assert.ok(rect.top >= 0 && rect.left >= 0 && rect.top + rect.height <= 480 && rect.left + rect.width <= 640);
      assert.ok(Math.abs(rect.width / rect.height - 0.75) < 0.01);
    }
  }
});

test('a region that was pushed against an edge comes back at once', () => {
  const source = { height: 100, width: 300 };
  const pushed = moveRegion({ kind: 'square', zoom: 1, x: 0.5, y: 0.5 }, 5, 0.5, source, [64, 64]);
  assert.ok(Math.abs(pushed.x - 250 / 300) < 1e-9);
});
