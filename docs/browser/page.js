// The page around a network: photographs in, colours and metres out.

import { openNetwork } from "./network.js";

const LARGEST = 1_000_000; // pixels of what is shown; larger photographs are made smaller first
const TICKS = [0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40, 60, 80];
const COLOURS = // matplotlib's magma, reversed, as in the pictures of the package
  "fcfdbf fceeb0 fde0a1 fed194 fec287 feb47b fea571 fd9668 fb8761 f9785d f4695c ee5b5e e55064 db476a cf4070 c23b75 b5367a " +
  "a8327d 9b2e7f 8e2a81 812581 752181 681c81 5c167f 4f127b 420f75 341069 271258 1c1044 120d31 090720 03030f 000004";
const STOPS = COLOURS.split(" ").map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));

const find = (name) => document.getElementById(name);
let shown = null, place = null, newest = 0;

function say(text, failed = false) {
  find("status").textContent = text;
  find("status").classList.toggle("error", failed);
}

async function load() {
  if (!globalThis.ort) throw new Error("vendor/ort.wasm.min.js: there is no ONNX Runtime; make browser brings it");
  ort.env.wasm.wasmPaths = new URL("vendor/", location.href).href;
  ort.env.wasm.numThreads = 1;
  const name = new URLSearchParams(location.search).get("network") ?? "student.onnx";
  const answer = await fetch(name).catch(because(`${name}: no server lets it be read, and no earlier visit kept it`));
  if (!answer.ok) throw new Error(`${name}: there is no such file; python -m ensemble.export onnx makes one`);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const network = await openNetwork(ort, bytes);
  describe(network.header);
  say("Ready.");
  keep(name, bytes).catch(() => {}); // the page works as before, and does not say that it is kept
  return network;
}

/** Has `offline.js` keep the page, puts the network beside it, and says so: browsers do it for HTTPS and this machine. */
async function keep(name, bytes) {
  await navigator.serviceWorker.register("offline.js");
  const { scope } = await navigator.serviceWorker.ready;
  await (await caches.open(scope)).put(name, new Response(bytes));
  find("kept").hidden = false;
}

/** What an error becomes where a reader has to know what failed. */
function because(what) {
  return (error) => { throw new Error(`${what} (${error.message}).`); };
}

function describe(header) {
  const facts = {
    Network: `${header.name} (${header.learners.map((each) => each.title).join(", ")}), ${header.precision}`,
    "Sees images of": `${(header.size ?? header.trained_size).join(" x ")} pixels`,
    "Learnt depth": `from ${header.depth_range[0]} to ${header.depth_range[1]} m`,
    "Training camera": header.field_of_view ? `${header.field_of_view.toFixed(0)} degrees across` : "not known",
    Licence: header.licence,
  };
  find("facts").replaceChildren(...Object.entries(facts).flatMap(([name, fact]) => {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, text.textContent] = [name, fact];
    return [term, text];
  }));
  find("about").hidden = false;
}

/** A photograph in 8 bits, upright; what is transparent lies on white, as `ensemble.colours` has it. */
async function pixelsOf(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const factor = Math.min(1, Math.sqrt(LARGEST / (bitmap.width * bitmap.height)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * factor));
  canvas.height = Math.max(1, Math.round(bitmap.height * factor));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

// Nothing where it failed: the page goes on saying why.
const network = load().catch((error) => say(error.message, true));

async function show(blob) {
  const own = ++newest, ready = await network;
  if (!ready || own !== newest) return;
  say("Working.");
  try {
    const image = await pixelsOf(blob).catch(because("This photograph could not be read"));
    if (own !== newest) return;
    const start = performance.now();
    const depth = await ready.depthOf(image).catch(because("The network found no depth in this photograph"));
    if (own !== newest) return;
    find("result").hidden = false;
    put(find("photo"), image);
    draw(depth);
    say(`Done in ${Math.round(performance.now() - start)} ms.`);
  } catch (error) {
    if (own !== newest) return;
    find("result").hidden = true;
    say(error.message, true);
  }
}

function limits(metres) {
  const sorted = Float32Array.from(metres).sort();
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  const near = Math.max(0.01, at(0.01));
  return [near, Math.max(at(0.99), near + 0.1)];
}

/** Colour of a place on the logarithmic scale, from 0 (near) to 1 (far). */
function colour(share) {
  const at = Math.min(Math.max(share, 0), 1) * (STOPS.length - 1), first = Math.min(Math.floor(at), STOPS.length - 2);
  return STOPS[first].map((value, index) => value + (STOPS[first + 1][index] - value) * (at - first));
}

function draw(depth) {
  const [near, far] = limits(depth.metres), share = (metres) => Math.log(metres / near) / Math.log(far / near);
  paint(find("depth"), depth.columns, depth.rows, (index) => share(depth.metres[index]));
  paint(find("bar"), 256, 1, (index) => index / 255);
  const inside = TICKS.filter((tick) => share(tick) > 0.1 && share(tick) < 0.9);
  const room = Math.max(1, Math.ceil(inside.length / (innerWidth < 600 ? 3 : 8)));
  const ticks = [near, ...inside.filter((_, index) => index % room === 0), far];
  find("ticks").replaceChildren(...ticks.map((tick) => {
    const item = document.createElement("li");
    item.textContent = `${tick === near || tick === far ? tick.toFixed(2) : tick} m`;
    item.style.left = `${100 * share(tick)}%`;
    return item;
  }));
  shown = depth;
  read(Math.floor(depth.columns / 2), Math.floor(depth.rows / 2));
}

function paint(canvas, width, height, shareOf) {
  const image = new ImageData(width, height);
  for (let index = 0; index < width * height; index++) image.data.set([...colour(shareOf(index)), 255], 4 * index);
  put(canvas, image);
}

function put(canvas, image) {
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function read(x, y) {
  place = [Math.min(Math.max(x, 0), shown.columns - 1), Math.min(Math.max(y, 0), shown.rows - 1)];
  find("reading").textContent = `${shown.metres[place[1] * shown.columns + place[0]].toFixed(2)} m`;
  find("place").hidden = false;
  find("place").style.left = `${(100 * (place[0] + 0.5)) / shown.columns}%`;
  find("place").style.top = `${(100 * (place[1] + 0.5)) / shown.rows}%`;
}

find("depth").addEventListener("pointermove", (event) => {
  const box = find("depth").getBoundingClientRect();
  read(Math.floor(((event.clientX - box.left) / box.width) * shown.columns),
    Math.floor(((event.clientY - box.top) / box.height) * shown.rows));
});
find("depth").addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!steps) return;
  event.preventDefault();
  const far = Math.max(1, Math.round(shown.columns / (event.shiftKey ? 10 : 100)));
  read(place[0] + far * steps[0], place[1] + far * steps[1]);
});

const chosen = (files) => files?.[0] && show(files[0]);
find("file").addEventListener("change", (event) => chosen(event.target.files));
document.addEventListener("paste", (event) => chosen(event.clipboardData.files));
document.addEventListener("dragover", (event) => { event.preventDefault(); find("drop").classList.add("over"); });
document.addEventListener("dragleave", () => find("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  find("drop").classList.remove("over");
  chosen(event.dataTransfer.files);
});

window.stackdepth = { shown: () => shown };
