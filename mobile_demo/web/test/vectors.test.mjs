// Every row of the golden vectors, exactly: the JavaScript port is the contract.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { checkVectors, computeRow, drawBytes, hashBytes, parseCsv } from '../src/vectors.js';

const text = await readFile(new URL('../../vectors/vectors.csv', import.meta.url), 'utf8');
const rows = parseCsv(text);
const KINDS = ['resize', 'preprocess', 'restore', 'prior', 'label'];

test('the file holds all kinds of rows', () => {
  assert.deepEqual(new Set(rows.map((row) => row.kind)), new Set(KINDS));
  assert.equal(rows.length, text.trim().split('\n').length - 1);
  assert.equal(rows.length, 252);
  assert.ok(rows.filter((row) => row.norm !== 'raw').length > 50); // float32
});

for (const kind of KINDS) {
  test(`every ${kind} row is reproduced exactly`, () => {
    for (const row of rows.filter((each) => each.kind === kind)) {
      assert.equal(computeRow(row), row.fnv1a64, JSON.stringify(row));
    }
  });
}

test('another hash is noticed in every row', () => {
  const [header, ...lines] = text.trim().split('\n');
  for (const line of lines) {
    const wrong = `${line.slice(0, -1)}${line.endsWith('0') ? '1' : '0'}`;
    assert.throws(() => checkVectors(`${header}\n${wrong}`), /golden vector/);
  }
});

test('rows are counted, and none is no proof', () => {
  assert.equal(checkVectors(text), 252);
  assert.throws(() => checkVectors(text.split('\n')[0]), /no rows/);
});

test('hash and generator are the published ones', () => {
  assert.equal(hashBytes(new Uint8Array()), 'cbf29ce484222325');
  assert.equal(hashBytes(new TextEncoder().encode('foobar')), '85944171f73967e8');
  assert.equal(drawBytes(2463534242, 1)[0], 723471715 >>> 24);
});
