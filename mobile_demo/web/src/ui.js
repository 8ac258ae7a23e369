// The page's elements by name, and what they say. Nothing here knows of networks.

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
export function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page lacks #${id}`);
  return found;
}

/** @param {string} id */
export const button = (id) => element(id, HTMLButtonElement);
/** @param {string} id */
export const input = (id) => element(id, HTMLInputElement);
/** @param {string} id */
export const select = (id) => element(id, HTMLSelectElement);

const status = element('status', HTMLElement);
const problem = element('problem', HTMLElement);
const progressRow = element('progress-row', HTMLElement);
const progress = element('progress', HTMLProgressElement);

/**
 * Say what happens; screen readers hear it when the words change.
 * @param {string} text
 */
export function say(text) {
  if (status.textContent !== text) status.textContent = text;
}

/**
 * Show how far something is, without a share that it goes on, with null that it is over.
 * @param {number | null} [share]
 */
export function showProgress(share) {
  progressRow.hidden = share === null;
  if (typeof share === 'number') progress.value = share;
  else progress.removeAttribute('value');
}

/**
 * Show what went wrong, or with an empty text that nothing does.
 * @param {string} text
 */
export function showProblem(text) {
  problem.hidden = text === '';
  problem.textContent = text;
}

/** Show the options of a mode and hide those of the others. @param {string} mode */
export function showOptions(mode) {
  for (const options of document.querySelectorAll('[data-mode]')) {
    if (options instanceof HTMLElement) options.hidden = !options.dataset.mode?.split(' ').includes(mode);
  }
}

/**
 * Fill a list of facts.
 * @param {[string, string][]} facts
 */
export function showFacts(facts) {
  const list = element('facts', HTMLElement);
  list.replaceChildren(
    ...facts.flatMap(([term, text]) => {
      const [dt, dd] = [document.createElement('dt'), document.createElement('dd')];
      dt.textContent = term;
      dd.textContent = text;
      return [dt, dd];
    }),
  );
}

/**
 * Fill a select.
 * @param {HTMLSelectElement} list
 * @param {string[]} names
 * @param {number} chosen
 */
export function fillSelect(list, names, chosen) {
  list.replaceChildren(...names.map((name, index) => new Option(name, String(index))));
  list.selectedIndex = chosen;
}

/** Speeds, smoothed so that they can be read. */
export class Meter {
  #row = element('meter', HTMLElement);
  #cells = ['fps', 'pre', 'infer', 'post'].map((id) => element(id, HTMLElement));
  /** @type {number[]} */
  #means = [];
  #shown = 0;

  /**
   * @param {import('./protocol.js').Timings} timings
   * @param {number | null} frameMs time since the last frame, null for a single picture
   */
  add({ pre_ms, infer_ms, post_ms }, frameMs) {
    const values = [frameMs ?? Number.NaN, pre_ms, infer_ms, post_ms];
    const live = frameMs !== null && this.#means.length > 0 && Number.isFinite(this.#means[0]);
    this.#means = live ? values.map((value, i) => this.#means[i] + (value - this.#means[i]) * 0.15) : values;
    this.#row.hidden = false;
    const now = performance.now();
    if (frameMs !== null && now - this.#shown < 250) return;
    this.#shown = now;
    const [frame, ...parts] = this.#means;
    const texts = [Number.isFinite(frame) ? (1000 / frame).toFixed(1) : '–', ...parts.map((ms) => ms.toFixed(1))];
    this.#cells.forEach((cell, i) => (cell.textContent = texts[i]));
  }
}
