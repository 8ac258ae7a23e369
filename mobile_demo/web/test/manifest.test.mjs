// The manifest is read strictly: every damage below must be refused by a line that names the field.

import assert from 'node:assert/strict';
import { webcrypto } from 'node:crypto';
import { test } from 'node:test';

import { ManifestError, parseManifest, verifyArtifact } from '../src/manifest.js';
import { MANIFEST } from './material.mjs';

/** @param {(manifest: any) => void} change */
function changed(change) {
  const copy = structuredClone(MANIFEST);
  change(copy);
  return JSON.stringify(copy);
}

test('a manifest is read as it is', () => {
  assert.deepEqual(parseManifest(JSON.stringify(MANIFEST)), MANIFEST);
});

test('a contract with a prior has one more channel', () => {
  const withPrior = (/** @type {any} */ m) => {
    Object.assign(m.preprocess, { version: 2, prior: 'previous_labels', prior_values: [127, 254] });
    m.preprocess.mean.push(0);
    m.preprocess.std.push(0.25);
    m.inputs[0].shape[1] = 4;
  };
  assert.equal(parseManifest(changed(withPrior)).preprocess.prior, 'previous_labels');
  const without = (/** @type {any} */ m) => (withPrior(m), (m.preprocess.version = 1));
  assert.throws(() => parseManifest(changed(without)), /version: prior is of version 2/);
  const fewer = (/** @type {any} */ m) => (withPrior(m), m.preprocess.prior_values.pop());
  assert.throws(() => parseManifest(changed(fewer)), /prior_values: expected one a class/);
});

const DAMAGES = [
  ['other version', (m) => (m.schema_version = 2), /schema_version: this page reads version 1, found 2/],
  ['unknown field', (m) => (m.colour = 1), /manifest\.colour: unknown field/],
  ['missing field', (m) => delete m.preprocess.std, /preprocess\.std: missing field/],
  ['wrong type', (m) => (m.preprocess.size_hw = [8, 6.5]), /size_hw\[1\]: expected an integer/],
  ['list too long', (m) => m.preprocess.size_hw.push(1), /size_hw: expected a list of 2/],
  ['unknown choice', (m) => (m.preprocess.resize = 'fill'), /resize: expected one of stretch/],
  ['other contract', (m) => (m.preprocess.version = 9), /preprocess\.version: expected one of/],
  ['text for a number', (m) => (m.preprocess.scale = '1'), /scale: expected a number/],
  ['inherited name', (m) => (m.toString = 1), /toString: unknown field/],
  ['null', (m) => (m.labels = null), /labels: expected an object, found null/],
  ['colour out of range', (m) => (m.labels.palette[1][0] = 256), /palette\[1\]\[0\]: expected an integer from 0 to 255/],
  ['fewer colours', (m) => m.labels.palette.pop(), /2 names and 1 colours for 2 classes/],
  ['fewer means', (m) => m.preprocess.mean.pop(), /preprocess\.mean: rgb has 3/],
  ['zero std', (m) => (m.preprocess.std[1] = 0), /scale and std must be positive/],
  ['other shape', (m) => (m.inputs[0].shape = [1, 3, 6, 8]), /not what preprocess makes/],
  ['no output', (m) => (m.outputs = []), /one input and at least one output/],
  ['a batch', (m) => (m.outputs[0].shape = [2, 2, 8, 6]), /no label map or logits of one picture/],
];
for (const [name, change, message] of DAMAGES) {
  test(`refused: ${name}`, () => {
    assert.throws(() => parseManifest(changed(change)), (error) => {
      assert.ok(error instanceof ManifestError);
      assert.match(error.message, message);
      assert.ok(!error.message.includes('\n'));
      return true;
    });
  });
}

test('refused: no JSON', () => {
  assert.throws(() => parseManifest('{'), /not valid JSON/);
});

test('bytes are compared with size and hash', async () => {
  globalThis.crypto ??= /** @type {Crypto} */ (webcrypto); // Node 18 does not have it there
  const manifest = parseManifest(JSON.stringify(MANIFEST));
  const bytes = new TextEncoder().encode('abc').buffer;
  assert.equal(await verifyArtifact(manifest, bytes), false); // no hash to compare
  manifest.artifact.sha256 = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'; // FIPS 180-2
  assert.equal(await verifyArtifact(manifest, bytes), true);
  await assert.rejects(verifyArtifact(manifest, new TextEncoder().encode('abd').buffer), /SHA-256 a52d159f262b… is not/);
  await assert.rejects(verifyArtifact(manifest, new ArrayBuffer(2)), /2 bytes instead of the manifest's 3/);
});
