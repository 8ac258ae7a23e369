// Where the page starts: keep it for offline use, open the network, say what it runs on.

import { App } from './app.js';
import { NAMES, openEngine } from './engine.js';
import { keepOnly, offerInstall, registerOffline } from './offline.js';
import { button, element, say, select, showFacts, showOptions, showProblem, showProgress } from './ui.js';

/** @param {import('./protocol.js').SelfCheck} check */
function describeAgreement({ agreement, uniform }) {
  if (uniform) return 'labels not proved: those of the drawn picture are of one class';
  return agreement === null ? 'not compared with Python' : `${(100 * agreement).toFixed(2)} % of labels as expected`;
}

/** @param {import('./engine.js').Engine} engine @param {string} offline */
function describeRun({ manifest, backend, threads, verified, check, refused }, offline) {
  const { artifact, preprocess } = manifest;
  showFacts([
    ['Network', `${manifest.model.name}, ${artifact.precision}, ${preprocess.size_hw.join('×')}, ${manifest.labels.names.length} classes`],
    ['File', `${artifact.file}${verified ? ', SHA-256 as in its manifest' : ', hash not checked'}`],
    ['Runs on', `${NAMES[backend]}${threads > 1 ? ` (${threads})` : ''}`],
    ['Self-check', `${check.vectors} golden vectors exact, ${describeAgreement(check)}`],
    ...refused.map((reason) => /** @type {[string, string]} */ (['Not used', reason])),
    ['Isolated', crossOriginIsolated ? 'yes' : 'no: threads are off'],
    ['Offline', offline],
    ...(manifest.postprocess.crf ? [/** @type {[string, string]} */ (['Edges', 'without the CRF of the contract'])] : []),
    ['Pictures', 'stay on this device'],
  ]);
}

async function main() {
  offerInstall(button('install'));
  showOptions('overlay');
  showProgress();
  const backend = new URLSearchParams(location.search).get('backend') ?? '';
  const chooser = select('backend');
  chooser.value = backend;
  if (chooser.selectedIndex < 0) chooser.value = '';
  chooser.addEventListener('change', () => location.assign(chooser.value ? `?backend=${chooser.value}` : './'));
  try {
    const offline = await registerOffline();
    const response = await fetch('demo.json');
    if (!response.ok) throw new Error(`demo.json: the server answered ${response.status}`);
    const demo = /** @type {import('./engine.js').Demo} */ (await response.json());
    const report = (/** @type {string} */ text, /** @type {number | undefined} */ share) => {
      say(text);
      showProgress(share);
    };
    const wanted = /** @type {import('./protocol.js').Backend | ''} */ (chooser.value);
    const engine = await openEngine(demo, { backend: wanted || null, report });
    const used = [demo.model, demo.manifest, demo.golden ?? demo.model, ...Object.values(demo.runtimes)];
    keepOnly(used, engine.backend === 'wasm' ? [] : demo.fallbacks);
    element('model', HTMLElement).textContent = engine.manifest.artifact.file;
    describeRun(engine, offline);
    // For the tests and the console.
    Object.assign(globalThis, { segproof: new App(engine) });
    document.documentElement.dataset.state = 'ready';
    say(`Ready on ${NAMES[engine.backend]}; self-check passed.`);
  } catch (error) {
    document.documentElement.dataset.state = 'failed';
    say('The network could not be started.');
    showProblem(/** @type {Error} */ (error).message);
  } finally {
    showProgress(null);
  }
}

await main();
