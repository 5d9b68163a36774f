// Finds and parses faces with the network alone, as inference/finding.py and inference/searching.py do; the constants
// are explained there. `classes` holds class numbers: face, skin, eyes, and groups (eyes, nose, mouth).
import { apply, faceMatrix, invert, multiply, zoomOf } from "./geometry.js";

const SMALLEST_SHARE = 0.15, SMALLEST_SIDE = 12, GAP = 32, SAME = 0.3, LEAST_FACE = 0.05;
const COVER = 0.5, SKIN_SHARE = 0.35, ASPECT = [0.45, 1.6], SCALES = [0.65, 1.5], DEGREES = 20, OFFSET = 0.25;
const SMALL = 0.35, ZOOMS = [2, 3], MARGIN = 1.25;

// The crops of an image: face (box, roll), matrix and labels of each, the largest last. `parse` maps a matrix to the
// labels of its crop; without `classes`, the whole image is the face.
export async function searchFaces(parse, whole, classes, size) {
  const crop = { face: null, matrix: whole, labels: await parse(whole) };
  if (!classes) return [crop];
  const faces = await lookCloser(parse, crop, classes, size);
  if (faces.length === 1 && isFramed(faces[0], whole, size)) return [{ ...crop, face: faces[0] }];
  return parseFaces(parse, faces, classes, size);
}

// The faces in the labels of the whole image and, as long as all are small, of its halves and thirds.
async function lookCloser(parse, whole, classes, size) {
  const area = (face) => zoomOf(faceMatrix(face, size));
  let faces = findFaces(whole, classes, size);
  for (const zoom of ZOOMS) {
    if (!faces.every((face) => (zoomOf(whole.matrix) * zoom ** 2) / 4 < SMALL ** 2 * area(face))) break;
    for (const matrix of tileMatrices(whole.matrix, size, zoom))
      faces = faces.concat(findFaces({ matrix, labels: await parse(matrix) }, classes, size));
    faces = withoutDuplicates(faces);
  }
  return faces;
}

// Each face in a crop of its own, which is corrected once if it does not show the face well.
async function parseFaces(parse, faces, classes, size) {
  const good = [];
  for (let attempt = 0; attempt < 2; attempt++) {
    const again = [];
    for (const face of faces) {
      const matrix = faceMatrix(face, size, MARGIN), crop = { matrix, labels: await parse(matrix) };
      const [inside] = isFace(measure(crop.labels, size[1]), classes, LEAST_FACE) ? findFaces(crop, classes, size) : [];
      if (inside && isFramed(inside, matrix, size)) good.push({ ...crop, face: inside });
      else if (inside) again.push(inside);
    }
    faces = again;
  }
  const kept = withoutDuplicates(good.map(({ face }) => face));  // corrected crops of two may show the same face
  return good.filter(({ face }) => kept.includes(face)).sort((a, b) => zoomOf(b.matrix) - zoomOf(a.matrix));
}

// The connected faces of a label map, the largest first.
function findFaces({ labels, matrix }, classes, size) {
  const inverse = invert(matrix), scale = Math.sqrt(zoomOf(inverse)), faces = [];
  for (const { left, top, width, height, inside } of components(labels, classes, size)) {
    const parts = measure(inside, width);
    if (Math.min(width, height) < SMALLEST_SIDE || !isFace(parts, classes, COVER)) continue;
    const roll = rollOf(parts, inverse, classes);
    if (!isPlausible(parts, width / height, roll, classes)) continue;
    const [x, y] = apply(inverse, left + (width - 1) / 2, top + (height - 1) / 2);
    const [right, down] = [(scale * width) / 2, (scale * height) / 2];
    faces.push({ box: [x - right, y - down, x + right, y + down], roll });
  }
  faces.sort((a, b) => heightOf(b) - heightOf(a));
  return faces.filter((face) => heightOf(face) >= SMALLEST_SHARE * heightOf(faces[0]));
}

// The connected parts of faces, small gaps closed: their boxes, and the labels inside.
function components(labels, classes, [height, width]) {
  const gap = Math.max(1, Math.floor(Math.min(height, width) / GAP)), on = new Uint8Array(256);
  for (const number of classes.face) on[number] = 1;
  const joined = slide(slide(labels.map((label) => on[label]), width, gap, Math.max), width, gap, Math.min);
  const owner = new Int32Array(labels.length), found = [];
  for (let seed = 0; seed < joined.length; seed++) {
    if (!joined[seed] || owner[seed]) continue;
    const number = found.length + 1, stack = [seed];
    let [left, top, right, bottom] = [width, height, 0, 0];
    owner[seed] = number;
    while (stack.length) {
      const at = stack.pop(), x = at % width, y = (at - x) / width;
      [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x), Math.max(bottom, y)];
      for (let j = Math.max(0, y - 1); j <= Math.min(height - 1, y + 1); j++)
        for (let i = Math.max(0, x - 1); i <= Math.min(width - 1, x + 1); i++) {
          const next = j * width + i;
          if (joined[next] && !owner[next]) stack.push(next), (owner[next] = number);
        }
    }
    found.push({ number, left, top, width: right - left + 1, height: bottom - top + 1 });
  }
  return found.map((part) => {
    const inside = Uint8Array.from({ length: part.width * part.height }, (_, index) => {
      const at = (part.top + Math.floor(index / part.width)) * width + part.left + (index % part.width);
      return owner[at] === part.number ? labels[at] : 0;
    });
    return { ...part, inside };
  });
}

// Largest or smallest value in a window of `gap` x `gap`, placed as OpenCV's.
function slide(mask, width, gap, pick) {
  const height = mask.length / width, before = gap >> 1;
  const pass = (from, step, count, place) => from.map((value, at) => {
    const i = place(at), last = Math.min(count - 1, i - before + gap - 1);
    for (let j = Math.max(0, i - before); j <= last; j++) value = pick(value, from[at + (j - i) * step]);
    return value;
  });
  return pass(pass(mask, 1, width, (at) => at % width), width, height, (at) => Math.floor(at / width));
}

// Pixels of each class, and the sums of their coordinates.
function measure(labels, width) {
  const [count, x, y] = [0, 0, 0].map(() => new Float64Array(256));
  labels.forEach((label, at) => {
    count[label]++;
    x[label] += at % width;
    y[label] += Math.floor(at / width);
  });
  return { count, x, y, total: labels.length };
}

const sum = (values, numbers) => numbers.reduce((total, number) => total + values[number], 0);

const isFace = ({ count, total }, classes, least) =>
  classes.groups.every((group) => sum(count, group)) && sum(count, classes.face) >= least * total;

function isPlausible({ count, x, y }, aspect, roll, classes) {
  const radians = (roll * Math.PI) / 180;
  const depths = classes.groups.map((group) =>
    (Math.cos(radians) * sum(y, group) - Math.sin(radians) * sum(x, group)) / sum(count, group));
  return ASPECT[0] <= aspect && aspect <= ASPECT[1] && depths[0] < depths[1] && depths[1] < depths[2]
    && sum(count, classes.skin) >= SKIN_SHARE * sum(count, classes.face);
}

// Clockwise angle in degrees of the line through the eyes; 0 unless both are visible.
function rollOf({ count, x, y }, [a, b, , d, e], classes) {
  const centers = classes.eyes.filter((eye) => count[eye]).map((eye) => [x[eye] / count[eye], y[eye] / count[eye]]);
  if (centers.length !== 2) return 0;
  const points = centers.map(([i, j]) => [a * i + b * j, d * i + e * j]).sort((p, q) => p[0] - q[0]);
  return (Math.atan2(points[1][1] - points[0][1], points[1][0] - points[0][0]) * 180) / Math.PI;
}

// Whether a crop shows a face about as large, upright and centered as training.
function isFramed(face, matrix, size) {
  const moved = multiply(matrix, invert(faceMatrix(face, size))), center = [size[1] / 2, size[0] / 2];
  const [x, y] = apply(moved, ...center), scale = Math.hypot(moved[0], moved[3]);
  const degrees = Math.abs((Math.atan2(moved[3], moved[0]) * 180) / Math.PI);
  const offset = Math.max(Math.abs(x - center[0]) / size[1], Math.abs(y - center[1]) / size[0]);
  return SCALES[0] <= scale && scale <= SCALES[1] && degrees <= DEGREES && offset <= OFFSET;
}

function withoutDuplicates(faces) {
  const kept = [];
  for (const face of [...faces].sort((a, b) => areaOf(b.box) - areaOf(a.box)))
    if (kept.every((other) => overlap(face.box, other.box) < SAME)) kept.push(face);
  return kept;
}

// Crops of 1 / zoom of the side, each half over the next.
function tileMatrices(matrix, size, zoom) {
  const places = Array.from({ length: 2 * zoom - 1 }, (_, place) => place / 2);
  return places.flatMap((top) => places.map((left) => {
    const [a, b, c, d, e, f] = matrix.map((value) => zoom * value);
    return [a, b, c - left * size[1], d, e, f - top * size[0]];
  }));
}

const heightOf = ({ box }) => box[3] - box[1];
const areaOf = (box) => (box[2] - box[0]) * (box[3] - box[1]);

function overlap(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]), height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  const shared = Math.max(width, 0) * Math.max(height, 0), areas = [areaOf(a), areaOf(b)];
  return Math.max(shared / (areas[0] + areas[1] - shared), shared / Math.min(...areas) - 0.5);
}
