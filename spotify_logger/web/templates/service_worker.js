"use strict";
// Shows the offline page while the server cannot be reached. Nothing of the log is cached.

const STATIC = {{ asset("")|tojson }};
const NAME = STATIC + {{ version|tojson }};
const FILES = ["page.css", "views.css", "page.js", "grid.js", "find.js", "mark.svg", "icon-192.png"].map((name) => STATIC + name);

addEventListener("install", (event) => {
  skipWaiting();
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(["/offline", ...FILES])));
});

addEventListener("activate", (event) => {
  const outdated = caches.keys().then((names) => Promise.all(names.filter((name) => name !== NAME).map((name) => caches.delete(name))));
  event.waitUntil(Promise.all([outdated, registration.navigationPreload?.enable(), clients.claim()]));
});

const kept = (request) => caches.match(request, { ignoreVary: true });

addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.mode === "navigate" && request.method === "GET") {
    const answer = async () => (await event.preloadResponse) || fetch(request);
    event.respondWith(answer().catch(() => kept("/offline")));
  } else if (FILES.includes(new URL(request.url).pathname)) {
    event.respondWith(kept(request).then((found) => found || fetch(request)));
  }
});
