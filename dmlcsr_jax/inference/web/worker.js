// Reads and parses photos, one after the other, outside of the page's thread. A message { id, file } is answered by
// { id, ...what page.js shows } or { id, error }; before that, { ready } or { error } tells how loading the network went.
import { searchFaces } from "./faces.js";
import { restore, takeCrop, wholeMatrix } from "./geometry.js";

const RUNTIME = "./node_modules/onnxruntime-web/dist/";
const MOST_PIXELS = 16_777_216, LONGEST = 16_384; // what a canvas may have on phones; larger photos are scaled down

const loading = load();
let last = loading.then(({ ready }) => postMessage({ ready }), (error) => postMessage({ error: error.message }));
onmessage = ({ data: { id, file } }) => {
  last = last.then(() => answer(file)).then(
    (photo) => postMessage({ id, ...photo }, [photo.image, photo.labels.buffer, photo.owners.buffer]),
    (error) => postMessage({ id, error: error.message }),
  );
};

async function load() {
  const model = await (await fetch("model.json")).json();
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  if (adapter && !adapter.info?.isFallbackAdapter) { // a fallback is the processor, which WebAssembly uses better
    try {
      return { model, ready: "WebGPU", ...(await start("ort.webgpu.bundle.min.mjs", "webgpu", model.size)) };
    } catch (error) {
      console.warn("WebGPU does not run this network; WebAssembly does.", error);
    }
  }
  const network = await start("ort.wasm.bundle.min.mjs", "wasm", model.size);
  return { model, ready: `WebAssembly, threads: ${network.threads}`, ...network };
}

async function start(file, provider, [height, width]) {
  const ort = await import(RUNTIME + file).catch(() => {
    throw new Error("onnxruntime-web is missing. Run npm install in this page's folder, and load the page again.");
  });
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, 8) : 1;
  const options = { executionProviders: [provider], logSeverityLevel: 3 };
  const session = await ort.InferenceSession.create("model.onnx", options);
  const run = async (crop) => {
    const images = new ort.Tensor("uint8", crop, [1, height, width, 3]);
    return (await session.run({ images }, ["labels"])).labels.data;
  };
  await run(new Uint8Array(height * width * 3)); // fails early, and compiles
  return { run, threads: ort.env.wasm.numThreads };
}

async function answer(file) {
  const { model, run } = await loading;
  const { image, bitmap } = await read(file), { width, height } = image, begin = performance.now();
  const parse = async (matrix) => Uint8Array.from(await run(takeCrop(image, matrix, model.size)));
  const crops = await searchFaces(parse, wholeMatrix(width, height, model.size), model.face, model.size);
  const labels = new Uint8Array(width * height), owners = new Uint8Array(width * height), present = new Set();
  const ordered = crops.filter((crop) => crop.face).sort((a, b) => a.face.box[0] - b.face.box[0]);
  for (const crop of crops) { // the largest last, so that it lies on top
    const number = Math.min(ordered.indexOf(crop) + 1, 255);
    restore(crop, image, model.size, (index, label) => {
      labels[index] = label;
      owners[index] = number;
    });
  }
  for (const label of labels) present.add(label);
  const groups = model.groups.map(({ name, parts }) => ({ name, parts: parts.filter(({ id }) => present.has(id)) }));
  return {
    width, height, labels, owners, image: bitmap, found: crops.length, faces: ordered.map(({ face }) => face.box),
    groups: groups.filter(({ parts }) => parts.length), seconds: (performance.now() - begin) / 1000,
  };
}

// The pixels of an image file, on white and turned as EXIF says.
async function read(file) {
  const source = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name} cannot be read as an image. Choose a JPEG, PNG or WebP file.`);
  });
  const { width, height } = source;
  const zoom = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height)), LONGEST / Math.max(width, height));
  const size = [width, height].map((side) => Math.max(1, Math.floor(zoom * side)));
  const canvas = new OffscreenCanvas(...size), context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, ...size);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, ...size);
  source.close();
  return { image: context.getImageData(0, 0, ...size), bitmap: canvas.transferToImageBitmap() };
}
