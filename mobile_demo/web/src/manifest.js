// The manifest: read strictly, so that a damaged or newer one fails with one line instead of a wrong mask.

/**
 * @typedef {object} PreprocessSpec
 * @property {[number, number]} size_hw
 * @property {'rgb' | 'bgr' | 'gray'} color
 * @property {'stretch' | 'letterbox' | 'center_crop'} resize
 * @property {'linear_exact' | 'nearest'} interpolation
 * @property {'none' | 'halve'} reduce
 * @property {number} pad_value
 * @property {number} scale
 * @property {number[]} mean
 * @property {number[]} std
 * @property {'nchw' | 'nhwc'} layout
 * @property {'float32' | 'uint8'} dtype
 * @property {1 | 2} version
 * @property {'none' | 'previous_labels'} [prior]
 * @property {number[]} [prior_values]
 */

/** @typedef {{resize: 'labels' | 'logits', outside_label: number, crf?: object | null}} PostprocessSpec */

/**
 * @typedef {object} TensorSpec
 * @property {string} name
 * @property {'image' | 'logits' | 'labels'} role
 * @property {number[]} shape
 * @property {string} dtype
 * @property {'nchw' | 'nhwc' | 'nhw'} layout
 */

/** @typedef {{names: string[], palette: [number, number, number][], ignore_index: number, flip_pairs: [number, number][]}} LabelSet */

/**
 * @typedef {object} Manifest
 * @property {{file: string, target: string, precision: string, bytes: number | null, sha256: string | null}} artifact
 * @property {{name: string, num_classes: number, in_channels: number, options: object}} model
 * @property {PreprocessSpec} preprocess
 * @property {PostprocessSpec} postprocess
 * @property {LabelSet} labels
 * @property {{scaling: boolean, normalisation: boolean, argmax: boolean}} graph
 * @property {TensorSpec[]} inputs
 * @property {TensorSpec[]} outputs
 * @property {object} provenance
 * @property {1} schema_version
 */

/** What is wrong with a manifest or an artifact, in one line that names the field. */
export class ManifestError extends Error {}

/** @typedef {(value: unknown, where: string) => void} Check */

/** @param {string} where @param {string} wanted @param {unknown} found @returns {never} */
function refuse(where, wanted, found) {
  throw new ManifestError(`${where}: expected ${wanted}, found ${String(JSON.stringify(found)).slice(0, 60)}`);
}

/** @type {Check} */
const text = (value, where) => void (typeof value === 'string' || refuse(where, 'text', value));
/** @type {Check} */
const truth = (value, where) => void (typeof value === 'boolean' || refuse(where, 'true or false', value));
/** @type {Check} */
const number = (value, where) => void (Number.isFinite(value) || refuse(where, 'a number', value));
/** @type {Check} */
const anyObject = (value, where) =>
  void ((typeof value === 'object' && value !== null && !Array.isArray(value)) || refuse(where, 'an object', value));

/** @param {number} low @param {number} [high] @returns {Check} */
const integer = (low, high = Number.MAX_SAFE_INTEGER) => (value, where) => {
  const right = Number.isSafeInteger(value) && Number(value) >= low && Number(value) <= high;
  if (!right) refuse(where, `an integer from ${low}${high < 1e9 ? ` to ${high}` : ''}`, value);
};

/** @param {(string | number)[]} values @returns {Check} */
const oneOf = (...values) => (value, where) => {
  if (!values.includes(/** @type {string} */ (value))) refuse(where, `one of ${values.join(', ')}`, value);
};

/** @param {Check} item @param {number} [length] @returns {Check} */
const list = (item, length) => (value, where) => {
  if (!Array.isArray(value) || (length !== undefined && value.length !== length)) {
    refuse(where, length === undefined ? 'a list' : `a list of ${length}`, value);
  }
  value.forEach((entry, i) => item(entry, `${where}[${i}]`));
};

/** @param {Check} inner @returns {Check} */
const orNull = (inner) => (value, where) => void (value === null || inner(value, where));

/** @param {Record<string, Check>} fields @param {Record<string, Check>} [optional] @returns {Check} */
const object = (fields, optional = {}) => (value, where) => {
  anyObject(value, where);
  const found = /** @type {Record<string, unknown>} */ (value);
  for (const name of Object.keys(found)) {
    if (Object.hasOwn(optional, name)) optional[name](found[name], `${where}.${name}`);
    else if (!Object.hasOwn(fields, name)) throw new ManifestError(`${where}.${name}: unknown field`);
  }
  for (const [name, check] of Object.entries(fields)) {
    if (!Object.hasOwn(found, name)) throw new ManifestError(`${where}.${name}: missing field`);
    check(found[name], `${where}.${name}`);
  }
};

const tensor = object({
  name: text,
  role: oneOf('image', 'logits', 'labels'),
  shape: list(integer(1)),
  dtype: text,
  layout: oneOf('nchw', 'nhwc', 'nhw'),
});

const manifest = object({
  artifact: object({
    file: text,
    target: text,
    precision: oneOf('fp32', 'fp16', 'int8'),
    bytes: orNull(integer(1)),
    sha256: orNull(text),
  }),
  model: object({ name: text, num_classes: integer(2, 255), in_channels: integer(1), options: anyObject }),
  preprocess: object(
    {
      size_hw: list(integer(1, 8192), 2),
      color: oneOf('rgb', 'bgr', 'gray'),
      resize: oneOf('stretch', 'letterbox', 'center_crop'),
      interpolation: oneOf('linear_exact', 'nearest'),
      reduce: oneOf('none', 'halve'),
      pad_value: integer(0, 255),
      scale: number,
      mean: list(number),
      std: list(number),
      layout: oneOf('nchw', 'nhwc'),
      dtype: oneOf('float32', 'uint8'),
      version: oneOf(1, 2),
    },
    { prior: oneOf('none', 'previous_labels'), prior_values: list(integer(0, 255)) },
  ),
  postprocess: object(
    { resize: oneOf('labels', 'logits'), outside_label: integer(0, 255) },
    { crf: orNull(anyObject) },
  ),
  labels: object({
    names: list(text),
    palette: list(list(integer(0, 255), 3)),
    ignore_index: integer(0, 255),
    flip_pairs: list(list(integer(0, 255), 2)),
  }),
  graph: object({ scaling: truth, normalisation: truth, argmax: truth }),
  inputs: list(tensor),
  outputs: list(tensor),
  provenance: anyObject,
  schema_version: oneOf(1),
});

/**
 * Read a manifest; throws ManifestError naming the field.
 * @param {string} json
 * @returns {Manifest}
 */
export function parseManifest(json) {
  /** @type {unknown} */
  let data;
  try {
    data = JSON.parse(json);
  } catch (error) {
    throw new ManifestError(`manifest: not valid JSON (${/** @type {Error} */ (error).message})`);
  }
  const version = /** @type {{schema_version?: unknown} | null} */ (data)?.schema_version;
  if (version !== undefined && version !== 1) {
    throw new ManifestError(`manifest.schema_version: this page reads version 1, found ${JSON.stringify(version)}`);
  }
  manifest(data, 'manifest');
  const read = /** @type {Manifest} */ (data);
  checkAgreement(read);
  return read;
}

/**
 * Whether the label map of the previous frame is the last channel.
 * @param {PreprocessSpec} spec
 */
export function hasPrior({ prior = 'none' }) {
  return prior !== 'none';
}

/** @param {Manifest} read */
function checkAgreement({ model, preprocess, labels, inputs, outputs }) {
  const prior = hasPrior(preprocess);
  const channels = (preprocess.color === 'gray' ? 1 : 3) + Number(prior);
  if (preprocess.version !== (prior ? 2 : 1)) {
    throw new ManifestError(`manifest.preprocess.version: prior ${prior ? 'is' : 'none is not'} of version 2`);
  }
  if ((preprocess.prior_values ?? []).length !== (prior ? model.num_classes : 0)) {
    throw new ManifestError('manifest.preprocess.prior_values: expected one a class with a prior, none without');
  }
  const { names, palette } = labels;
  if (names.length !== model.num_classes || palette.length !== names.length) {
    throw new ManifestError(
      `manifest.labels: ${names.length} names and ${palette.length} colours for ${model.num_classes} classes`,
    );
  }
  for (const name of /** @type {const} */ (['mean', 'std'])) {
    if (preprocess[name].length !== channels) {
      throw new ManifestError(`manifest.preprocess.${name}: ${preprocess.color}${prior ? ' with a prior' : ''} has ${channels} channel(s)`);
    }
  }
  if (!(preprocess.scale > 0) || !preprocess.std.every((value) => value > 0)) {
    throw new ManifestError('manifest.preprocess: scale and std must be positive');
  }
  if (inputs.length !== 1 || outputs.length < 1) {
    throw new ManifestError('manifest: this page runs artifacts with one input and at least one output');
  }
  const [height, width] = preprocess.size_hw;
  const wanted = preprocess.layout === 'nchw' ? [1, channels, height, width] : [1, height, width, channels];
  if (inputs[0].layout !== preprocess.layout || String(inputs[0].shape) !== String(wanted)) {
    throw new ManifestError(`manifest.inputs[0]: ${inputs[0].shape} is not what preprocess makes (${wanted})`);
  }
  const rank = outputs[0].layout === 'nhw' ? 3 : 4;
  if (outputs[0].shape.length !== rank || outputs[0].shape[0] !== 1 || outputs[0].role === 'image') {
    throw new ManifestError(`manifest.outputs[0]: no label map or logits of one picture (${outputs[0].shape})`);
  }
}

/**
 * Compare an artifact's bytes with its manifest; throws ManifestError. Returns false where the browser cannot hash,
 * which it does on https and localhost only.
 * @param {Manifest} read
 * @param {ArrayBuffer} bytes
 */
export async function verifyArtifact({ artifact }, bytes) {
  if (artifact.bytes !== null && bytes.byteLength !== artifact.bytes) {
    throw new ManifestError(
      `${artifact.file}: ${bytes.byteLength} bytes instead of the manifest's ${artifact.bytes}; export it again`,
    );
  }
  if (artifact.sha256 === null || !globalThis.crypto?.subtle) return false;
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (found !== artifact.sha256) {
    throw new ManifestError(
      `${artifact.file}: SHA-256 ${found.slice(0, 12)}… is not the manifest's ${artifact.sha256.slice(0, 12)}…; ` +
        'the file was changed or damaged after export: export it again',
    );
  }
  return true;
}
