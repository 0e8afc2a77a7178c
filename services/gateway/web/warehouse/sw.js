// Lets the warehouse app start without a connection. Data is not cached here.

const PREFIX = 'dm-warehouse-';
const SHELL = '/apps/warehouse/';
const ASSETS = '{{assets}}';
const CACHE = `${PREFIX}${ASSETS}`;
const FILES = [
  'shared/app.css',
  'shared/theme.js',
  'shared/icon.svg',
  'shared/api.js',
  'shared/bell.js',
  'shared/dom.js',
  'shared/form.js',
  'shared/format.js',
  'shared/router.js',
  'shared/shell.js',
  'shared/store.js',
  'warehouse/app.js',
  'warehouse/camera.js',
  'warehouse/database.js',
  'warehouse/queue.js',
  'warehouse/shipments.js',
].map((file) => `${ASSETS}/${file}`);

addEventListener('install', (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll([SHELL, ...FILES])));
  skipWaiting();
});

addEventListener('activate', (event) => {
  const removeOld = async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
    }
    await clients.claim();
  };
  event.waitUntil(removeOld());
});

addEventListener('fetch', (event) => {
  const { request } = event;
  const { pathname } = new URL(request.url);
  if (request.method !== 'GET') return;
  // The gateway decides who may open the page: the cache is for the time without it.
  if (request.mode === 'navigate' && pathname === SHELL) event.respondWith(fetch(request).catch(() => caches.match(SHELL)));
  else if (FILES.includes(pathname)) event.respondWith(caches.match(request).then((cached) => cached ?? fetch(request)));
});
