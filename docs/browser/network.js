// An exported file in a browser: what it says of itself, and metres of an image, as `ensemble.deploy.runtime` has them.

const KEY = "stackdepth";
const MOST_AREA = 4; // of what the network sees, as a multiple of the size of training: a strip would take gigabytes

/** What an exported file says of itself: JSON among the metadata of an ONNX model (fields 14 of ModelProto). */
export function headerOf(bytes) {
  for (const [field, content] of fieldsOf(bytes)) {
    if (field !== 14) continue;
    const pair = new Map(fieldsOf(content));
    const text = (part) => new TextDecoder().decode(pair.get(part));
    if (text(1) === KEY) return JSON.parse(text(2));
  }
  throw new Error("expected a file that `python -m ensemble.export onnx` has written, found another one");
}

function* fieldsOf(bytes) {
  let at = 0;
  const number = () => {
    let value = 0, factor = 1, byte;
    do {
      byte = bytes[at++];
      value += (byte & 127) * factor;
      factor *= 128;
    } while (byte & 128);
    return value;
  };
  while (at < bytes.length) {
    const tag = number(), kind = tag % 8, field = Math.floor(tag / 8);
    if (kind === 0) number();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else {
      const length = number();
      yield [field, bytes.subarray(at, at + length)];
      at += length;
    }
  }
}

/** The file, ready to compute: `depthOf(image)` of {data: opaque RGBA, width, height} gives metres at the image's size. */
export async function openNetwork(ort, bytes) {
  const header = headerOf(bytes);
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  return { header, depthOf: (image) => depthOf(ort, session, header, image) };
}

async function depthOf(ort, session, header, image) {
  const working = keepingShape(header, image.height, image.width);
  const taken = header.size ?? (String(working) === String(header.trained_size) ? working
    : working.map((side) => Math.ceil(side / header.stride) * header.stride));
  const seen = resized({ rows: image.height, columns: image.width, pixels: rgb(image.data) }, working);
  const planes = padded(seen, taken);
  const kind = header.pixels === "uint8" ? planes : Float32Array.from(planes, (value) => value / 255);
  const given = new ort.Tensor(header.pixels, kind, [1, 3, ...taken]);
  const said = await session.run({ image: given }, ["depth"]);
  const inside = cut(said.depth.data, taken, working);
  if (!inside.every(Number.isFinite)) throw new Error("depth is not finite; nothing is repaired here");
  return enlarged(inside, working, [image.height, image.width]);
}

/** The size that the network sees of an image: its own shape, inside what the file takes. */
function keepingShape(header, height, width) {
  if (!header.size) return shapeKept(header.trained_size, height, width);
  return scaled(header.size, Math.min(header.size[0] / height, header.size[1] / width), height, width);
}

/** An image's own shape with the short side of training, or smaller where that is too many pixels. */
function shapeKept(trained, height, width) {
  const most = Math.sqrt((MOST_AREA * trained[0] * trained[1]) / (height * width));
  return scaled(trained, Math.min(Math.min(...trained) / Math.min(height, width), most), height, width);
}

/** Height and width times a factor, in whole pixels: those that are wanted where it comes within one of them. */
function scaled(wanted, factor, height, width) {
  if (Math.max(Math.abs(factor * height - wanted[0]), Math.abs(factor * width - wanted[1])) < 1) return wanted;
  return [height, width].map((side) => Math.max(1, evenRound(factor * side)));
}

/** Halves go to the even number, as Python rounds. */
function evenRound(value) {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}

function rgb(rgba) {
  const pixels = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    if (rgba[from + 3] !== 255) throw new Error("found a transparent pixel; expected an image that was drawn on white");
    pixels[to++] = rgba[from];
    pixels[to++] = rgba[from + 1];
    pixels[to++] = rgba[from + 2];
  }
  return pixels;
}

/** Antialiased bilinear interpolation in whole numbers, rows of pixels first, as images of the training were resized. */
function resized(image, [rows, columns]) {
  let found = image;
  if (columns !== found.columns) found = weighed(found, columns, true);
  if (rows !== found.rows) found = weighed(found, rows, false);
  return found;
}

function weighed({ rows, columns, pixels }, size, across) {
  const old = across ? columns : rows;
  const triangles = trianglesOf(old, size);
  let largest = 0; // in a loop: a function takes no hundreds of thousands of arguments
  for (const { weights } of triangles) for (const weight of weights) largest = Math.max(largest, weight);
  let bits = 0;
  while (bits < 22 && Math.trunc(0.5 + largest * 2 ** (bits + 1)) < 1 << 15) bits++;
  const half = bits ? 2 ** (bits - 1) : 0, [newRows, newColumns] = across ? [rows, size] : [size, columns];
  const told = new Uint8Array(newRows * newColumns * 3);
  triangles.forEach(({ first, weights }, place) => {
    const whole = weights.map((weight) => Math.floor(weight * 2 ** bits + 0.5));
    for (let line = 0; line < (across ? rows : columns); line++) {
      for (let colour = 0; colour < 3; colour++) {
        let sum = half;
        whole.forEach((weight, step) => {
          const from = Math.min(first + step, old - 1);
          sum += weight * pixels[3 * (across ? line * columns + from : from * columns + line) + colour];
        });
        const to = across ? line * newColumns + place : place * newColumns + line;
        told[3 * to + colour] = Math.min(255, Math.max(0, Math.floor(sum / 2 ** bits)));
      }
    }
  });
  return { rows: newRows, columns: newColumns, pixels: told };
}

function trianglesOf(old, size) {
  const scale = old / size, wide = Math.max(scale, 1);
  return Array.from({ length: size }, (_, place) => {
    const middle = (place + 0.5) * scale;
    const first = Math.max(Math.floor(middle - wide + 0.5), 0);
    const weights = Array.from({ length: Math.trunc(2 * wide) + 2 }, (_, step) =>
      first + step < old ? Math.max(1 - Math.abs(first + step + 0.5 - middle) / wide, 0) : 0);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: weights.map((weight) => weight / total) };
  });
}

/** Planes of red, green and blue, with the last row and column repeated up to a size. */
function padded({ rows, columns, pixels }, [height, width]) {
  const planes = new Uint8Array(3 * height * width);
  for (let colour = 0, to = 0; colour < 3; colour++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        planes[to++] = pixels[3 * (Math.min(y, rows - 1) * columns + Math.min(x, columns - 1)) + colour];
  return planes;
}

function cut(map, [, width], [rows, columns]) {
  const inside = new Float32Array(rows * columns);
  for (let y = 0; y < rows; y++) inside.set(map.subarray(y * width, y * width + columns), y * columns);
  return inside;
}

/** A map at another size, bilinearly, with corners not aligned. */
function enlarged(map, [rows, columns], [height, width]) {
  const places = (old, size) => Array.from({ length: size }, (_, index) => {
    const place = Math.min(Math.max((index + 0.5) * (old / size) - 0.5, 0), old - 1);
    const first = Math.floor(place);
    return [first, Math.min(first + 1, old - 1), place - first];
  });
  const across = places(columns, width), down = places(rows, height), told = new Float32Array(height * width);
  down.forEach(([upper, lower, share], y) => {
    across.forEach(([left, right, part], x) => {
      const above = map[upper * columns + left] * (1 - part) + map[upper * columns + right] * part;
      const below = map[lower * columns + left] * (1 - part) + map[lower * columns + right] * part;
      told[y * width + x] = above * (1 - share) + below * share;
    });
  });
  return { metres: told, rows: height, columns: width };
}
