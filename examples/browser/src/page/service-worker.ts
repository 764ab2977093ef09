/**
 * Keeps the page itself, so that it opens without a network: all files of one version together, the next version when no page
 * of this one is open. Models are kept by the runtime, and requests for them, for embeddings and for pictures pass through.
 */
declare const __VERSION__: string;
declare const __FILES__: readonly string[];
declare const __OPTIONAL_FILES__: readonly string[];

/** What is used of a service worker's scope; the page's own types are those of documents. */
interface ServiceScope {
  readonly location: Location;
  readonly clients: { claim(): Promise<void> };
  addEventListener(
    type: 'install' | 'activate',
    listener: (event: { waitUntil(work: Promise<unknown>): void }) => void,
  ): void;
  addEventListener(
    type: 'fetch',
    listener: (event: { readonly request: Request; respondWith(response: Promise<Response>): void }) => void,
  ): void;
}

const scope = self as unknown as ServiceScope;
const PREFIX = 'edge-dit-page-';
const NAME = PREFIX + __VERSION__;
/** Says which model, and where; asked for each time, and that of the last visit without a network. */
const SETTINGS = '/page.json';

scope.addEventListener('install', (event) => {
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll([...__FILES__, SETTINGS])));
});

scope.addEventListener('activate', (event) => {
  const clean = async () => {
    const old = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== NAME);
    await Promise.all(old.map((name) => caches.delete(name)));
    await scope.clients.claim();
  };
  event.waitUntil(clean());
});

scope.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || url.origin !== scope.location.origin) return;
  if (url.pathname === SETTINGS) event.respondWith(newest(request));
  else if (__FILES__.includes(url.pathname) || __OPTIONAL_FILES__.includes(url.pathname)) {
    event.respondWith(kept(url.pathname));
  }
});

async function kept(path: string): Promise<Response> {
  const cache = await caches.open(NAME);
  const found = await cache.match(path);
  if (found !== undefined) return found;
  const response = await fetch(path);
  if (response.ok) await cache.put(path, response.clone());
  return response;
}

async function newest(request: Request): Promise<Response> {
  const cache = await caches.open(NAME);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(SETTINGS, response.clone());
    return response;
  } catch (error) {
    const last = await cache.match(SETTINGS);
    if (last !== undefined) return last;
    throw error;
  }
}
