// Keeps the page. What has a version or hash in its address (runtime, network) is taken from the cache for ever;
// the rest comes from the server while it answers, and from the cache when it does not.

const CACHE = 'segproof-demo-1';
/** How long the server may take where a kept copy could answer. */
const PATIENCE_MS = 4000;

/** What has a version or hash in its address; manifests may be edited beside the same network. */
const FIXED = /\/(vendor|model)\/.*(?<!\.json)$/;
const SHELL = [
  './',
  'styles.css',
  'manifest.webmanifest',
  'vectors.csv',
  'demo.json',
  'icons/icon.svg',
  'icons/icon-192.png',
  'icons/icon-512.png',
  'src/app.js',
  'src/camera.js',
  'src/effects.js',
  'src/engine.js',
  'src/geometry.js',
  'src/labeller.js',
  'src/legend.js',
  'src/main.js',
  'src/manifest.js',
  'src/masks.js',
  'src/offline.js',
  'src/parts.js',
  'src/postprocess.js',
  'src/preprocess.js',
  'src/prior.js',
  'src/protocol.js',
  'src/region.js',
  'src/render.js',
  'src/resize.js',
  'src/runtime-litert.js',
  'src/runtime-ort.js',
  'src/selfcheck.js',
  'src/stage.js',
  'src/ui.js',
  'src/vectors.js',
  'src/worker.js',
];

self.addEventListener('install', (event) => {
  event.waitUntil(
    (async () => {
      const cache = await caches.open(CACHE);
      await cache.addAll(SHELL.map((path) => new Request(path, { cache: 'no-cache' })));
      await self.skipWaiting();
    })(),
  );
});

self.addEventListener('activate', (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) {
        if (name.startsWith('segproof-demo-') && name !== CACHE) await caches.delete(name);
      }
      await self.clients.claim();
    })(),
  );
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || url.origin !== self.location.origin) return;
  event.respondWith(FIXED.test(url.pathname) ? fromCache(event) : fromServer(request));
});

self.addEventListener('message', (event) => {
  if (event.data?.type === 'keep') event.waitUntil(keep(event.data.urls, event.data.fallbacks));
});

/** @param {FetchEvent} event */
async function fromCache(event) {
  const { request } = event;
  const cache = await caches.open(CACHE);
  // "reload" is how the page asks again for what did not have its hash.
  const kept = request.cache === 'reload' ? undefined : await cache.match(request.url);
  if (kept) return kept;
  const response = await fetch(request);
  // Kept while the page reads it already.
  if (response.status === 200) event.waitUntil(store(cache, request.url, response.clone()));
  return response;
}

/** @param {Request} request */
async function fromServer(request) {
  const cache = await caches.open(CACHE);
  // The page's own address may carry options (?backend=wasm): they do not make it another page.
  const key = request.mode === 'navigate' ? new URL('./', self.location.href).href : request.url;
  const kept = await cache.match(key);
  const fresh = fetch(request).then(async (response) => {
    if (response.status === 200) await store(cache, key, response.clone());
    return response;
  });
  if (!kept) return fresh;
  // In another network than the server's, an answer may neither come nor fail for minutes.
  const late = new Promise((resolve) => {
    setTimeout(() => resolve(kept), PATIENCE_MS);
  });
  return Promise.race([fresh.catch(() => kept), late]);
}

/** @param {Cache} cache @param {string} url @param {Response} response */
async function store(cache, url, response) {
  try {
    await cache.put(url, response);
  } catch {
    // The disk is full or storage is refused: the page still works while its server answers.
  }
}

/** @param {string[]} prefixes of what is in use @param {string[]} fallbacks */
async function keep(prefixes, fallbacks) {
  const cache = await caches.open(CACHE);
  for (const { url } of await cache.keys()) {
    if (/\/(vendor|model)\//.test(new URL(url).pathname) && !prefixes.some((prefix) => url.startsWith(prefix))) await cache.delete(url);
  }
  for (const url of fallbacks) {
    if (await cache.match(url)) continue;
    try {
      const response = await fetch(url);
      if (response.status === 200) await store(cache, url, response);
    } catch {
      return; // The server is gone already: they come the next time that it answers.
    }
  }
}
