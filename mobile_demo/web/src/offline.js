// The page without its server: a service worker keeps what was loaded, and the browser may install the page.

/**
 * Register the service worker and wait a moment until it controls the page, so that the large files that follow pass
 * through it. Returns what a person should know.
 * @param {number} [patienceMs]
 * @returns {Promise<{offline: boolean, reason: string}>}
 */
export async function registerOffline(patienceMs = 4000) {
  if (!isSecureContext || !navigator.serviceWorker) {
    return { offline: false, reason: 'no: browsers keep pages of https and localhost only' };
  }
  try {
    await navigator.serviceWorker.register('sw.js');
    await Promise.race([controlled(), timeout(patienceMs)]);
    return { offline: true, reason: 'yes, once this page has opened' };
  } catch (error) {
    // A self-signed certificate that the user clicked through, or storage that is switched off.
    return { offline: false, reason: `no: ${/** @type {Error} */ (error).message}` };
  }
}

function controlled() {
  if (navigator.serviceWorker.controller) return Promise.resolve();
  return new Promise((resolve) => {
    navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true });
  });
}

/** @param {number} ms @returns {Promise<never>} */
function timeout(ms) {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error('its service worker did not start')), ms);
  });
}

/**
 * Tell the service worker which large files are in use, so that those of other networks and releases are dropped.
 * @param {string[]} urls
 */
export function keepOnly(urls) {
  const absolute = urls.map((url) => new URL(url, document.baseURI).href);
  navigator.serviceWorker?.controller?.postMessage({ type: 'keep', urls: absolute });
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
