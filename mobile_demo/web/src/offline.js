// The page without its server: a service worker keeps what was loaded, and the browser may install the page.

/**
 * Register the service worker and wait until it controls the page, so that the large files that follow pass through
 * it. Returns what a person should know.
 * @param {number} [patienceMs] the page must open where a browser never hands it over, too
 * @returns {Promise<string>}
 */
export async function registerOffline(patienceMs = 20_000) {
  if (!isSecureContext || !navigator.serviceWorker) return 'no: browsers keep pages of https and localhost only';
  try {
    const registration = await navigator.serviceWorker.register('sw.js');
    if (navigator.serviceWorker.controller) return KEPT;
    // A forced reload (Shift) goes past the worker that has kept the page before.
    if (registration.active && !registration.installing) return 'yes, as it was before this forced reload';
    const late = new Promise((resolve) => {
      setTimeout(() => resolve('not yet: open this page once more'), patienceMs);
    });
    return await Promise.race([takenOver(registration), /** @type {Promise<string>} */ (late)]);
  } catch (error) {
    // A self-signed certificate that the user clicked through, storage that is switched off, a file that is missing.
    return `no: ${/** @type {Error} */ (error).message}`;
  }
}

const KEPT = 'yes, once this page has opened';

/** @param {ServiceWorkerRegistration} registration @returns {Promise<string>} */
function takenOver({ installing }) {
  return new Promise((resolve, reject) => {
    navigator.serviceWorker.addEventListener('controllerchange', () => resolve(KEPT), { once: true });
    installing?.addEventListener('statechange', () => {
      if (installing.state === 'redundant') reject(new Error('the browser could not keep the files of this page'));
    });
  });
}

/**
 * Tell the service worker which large files are in use, so that those of other networks and releases are dropped, and
 * which it shall fetch for the day when the backend of today does not start and there is no server.
 * @param {string[]} urls
 * @param {string[]} fallbacks
 */
export function keepOnly(urls, fallbacks) {
  const absolute = (/** @type {string} */ url) => new URL(url, document.baseURI).href;
  const message = { type: 'keep', urls: urls.map(absolute), fallbacks: fallbacks.map(absolute) };
  navigator.serviceWorker?.controller?.postMessage(message);
}

/**
 * Show `button` while the browser offers to install the page.
 * @param {HTMLButtonElement} button
 */
export function offerInstall(button) {
  /** @type {(Event & {prompt: () => Promise<unknown>}) | null} */
  let offer = null;
  window.addEventListener('beforeinstallprompt', (event) => {
    event.preventDefault();
    offer = /** @type {NonNullable<typeof offer>} */ (event);
    button.hidden = false;
  });
  window.addEventListener('appinstalled', () => {
    button.hidden = true;
  });
  button.addEventListener('click', async () => {
    await offer?.prompt();
    button.hidden = true;
  });
}
