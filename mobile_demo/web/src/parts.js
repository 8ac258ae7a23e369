// Classes that a person would name in one word: the lips are an upper and a lower one.

const SIDES = /^(left|right|upper|lower)_/;

/** @typedef {{name: string, classes: number[]}} Part */

/**
 * List what can be recoloured: groups of classes that differ in side alone, then every class.
 * @param {string[]} names of the classes
 * @returns {Part[]}
 */
export function listParts(names) {
  /** @type {Map<string, number[]>} */
  const groups = new Map();
  names.forEach((name, index) => {
    if (!SIDES.test(name)) return;
    const stem = name.replace(SIDES, '');
    groups.set(stem, [...(groups.get(stem) ?? []), index]);
  });
  const parts = [...groups].filter(([, classes]) => classes.length > 1).map(([stem, classes]) => ({ name: `${stem}s`, classes }));
  return [...parts, ...names.map((name, index) => ({ name, classes: [index] }))].map(({ name, classes }) => ({
    name: name.replaceAll('_', ' '),
    classes,
  }));
}

/**
 * The class that is behind what the network looks for: the one called background, otherwise that of the pixels the
 * network never sees.
 * @param {string[]} names
 * @param {number} outsideLabel
 */
export function findBackground(names, outsideLabel) {
  const index = names.findIndex((name) => /^(background|bg|unlabell?ed)$/i.test(name));
  return index >= 0 ? index : Math.min(outsideLabel, names.length - 1);
}

/**
 * Count each class: its share (0..1) of the labels, those beyond `classes` left out.
 * @param {Uint8Array} labels
 * @param {number} classes
 */
export function shareOfClasses(labels, classes) {
  const counts = new Uint32Array(256);
  for (let i = 0; i < labels.length; i++) counts[labels[i]]++;
  return Array.from(counts.subarray(0, classes), (count) => count / labels.length);
}
