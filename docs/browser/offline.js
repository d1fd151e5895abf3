// Keeps what the page has fetched: the newest where the server answers, else what was kept. The page adds its network.

const FILES = ["./", "page.css", "page.js", "network.js", "vendor/ort.wasm.min.js",
  "vendor/ort-wasm-simd-threaded.mjs", "vendor/ort-wasm-simd-threaded.wasm"];
const kept = () => caches.open(registration.scope);

self.addEventListener("install", (event) => {
  event.waitUntil(kept().then((files) => files.addAll(FILES)).then(() => self.skipWaiting()));
});
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => event.respondWith(newest(event.request)));

async function newest(request) {
  const files = await kept();
  // The page is one file, whatever network it is asked for; other addresses may say by their search what they send.
  const name = request.mode === "navigate" ? request.url.replace(/(index\.html)?([?#].*)?$/, "") : request;
  const answer = await fetch(request).catch(() => null);
  if (!answer) return (await files.match(name)) ?? Response.error();
  if (answer.ok && request.method === "GET") await files.put(name, answer.clone()).catch(() => {}); // no room to keep it
  return answer;
}
