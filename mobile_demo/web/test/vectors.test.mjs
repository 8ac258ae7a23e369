// Every row of the golden vectors, exactly: the JavaScript port is the contract.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { checkVectors, computeRow, drawBytes, hashBytes, parseCsv } from '../src/vectors.js';

const text = await readFile(new URL('../../vectors/vectors.csv', import.meta.url), 'utf8');
const rows = parseCsv(text);

test('the file holds all kinds of rows', () => {
  assert.deepEqual(new Set(rows.map((row) => row.kind)), new Set(['resize', 'preprocess', 'restore']));
  assert.ok(rows.length > 150);
});

for (const kind of ['resize', 'preprocess', 'restore']) {
  test(`every ${kind} row is reproduced exactly`, () => {
    for (const row of rows.filter((each) => each.kind === kind)) {
      assert.equal(computeRow(row), row.fnv1a64, JSON.stringify(row));
    }
  });
}

test('one wrong row is noticed', () => {
  assert.equal(checkVectors(text), rows.length);
  const wrong = text.replace(rows[70].fnv1a64, '0123456789abcdef');
  assert.throws(() => checkVectors(wrong), /golden vector/);
  assert.throws(() => checkVectors(text.split('\n')[0]), /no rows/);
});

test('hash and generator are the published ones', () => {
  assert.equal(hashBytes(new Uint8Array()), 'cbf29ce484222325');
  assert.equal(hashBytes(new TextEncoder().encode('foobar')), '85944171f73967e8');
  assert.equal(drawBytes(2463534242, 1)[0], 723471715 >>> 24);
});
