// The maps and the resampling of pipeline/geometry.py and inference/detector.py.
// A matrix [a, b, c, d, e, f] maps (x, y) to (a x + b y + c, d x + e y + f). Sizes are [height, width].
// Images are ImageData, or objects like it: width, height, and data in RGBA.

const CROP_SIDE = 1.6, CROP_RISE = 0.09, AVERAGE_FROM = 8; // as in detector.py

export const apply = ([a, b, c, d, e, f], x, y) => [a * x + b * y + c, d * x + e * y + f];

export function invert([a, b, c, d, e, f]) {
  const det = a * e - b * d;
  return [e / det, -b / det, (b * f - c * e) / det, -d / det, a / det, (c * d - a * f) / det];
}

// First `right`, then `left`.
export function multiply(left, [a, b, c, d, e, f]) {
  const [p, q, r, s, t, u] = left;
  return [p * a + q * d, p * b + q * e, p * c + q * f + r, s * a + t * d, s * b + t * e, s * c + t * f + u];
}

// Pixels of the input per pixel of the image.
export const zoomOf = ([a, b, , d, e]) => Math.abs(a * e - b * d);

export function wholeMatrix(width, height, size) {
  const aspect = size[1] / size[0];
  const side = Math.max(width - 1, 1, Math.max(height - 1, 1) * aspect);
  return boxMatrix([(width - 1) / 2, (height - 1) / 2], side, 0, size);
}

// The crop of a face: box (left, top, right, bottom), and roll in degrees.
export function faceMatrix({ box: [left, top, right, bottom], roll }, size, margin = 1) {
  const radians = (roll * Math.PI) / 180, rise = CROP_RISE * (bottom - top);
  const center = [(left + right) / 2 + rise * Math.sin(radians), (top + bottom) / 2 - rise * Math.cos(radians)];
  const side = margin * CROP_SIDE * Math.sqrt((right - left) * (bottom - top));
  return boxMatrix(center, side * Math.max(1, size[1] / size[0]), radians, size);
}

function boxMatrix([x, y], side, radians, [height, width]) {
  const cos = (Math.cos(radians) * width) / side, sin = (Math.sin(radians) * width) / side;
  return [cos, sin, width / 2 - cos * x - sin * y, -sin, cos, height / 2 + sin * x - cos * y];
}

// What the network sees: RGB, bilinear, black outside of the image.
export function takeCrop(image, matrix, [height, width]) {
  const ratio = 1 / Math.sqrt(zoomOf(matrix));
  if (ratio > AVERAGE_FROM) ({ image, matrix } = shrink(image, matrix, AVERAGE_FROM / 2 / ratio));
  const crop = new Uint8ClampedArray(height * width * 3); // rounds
  const [a, b, c, d, e, f] = Float32Array.from(invert(matrix)), float = Math.fround; // as OpenCV computes
  const value = (x, y, channel) => (x >= 0 && y >= 0 && x < image.width && y < image.height
    ? image.data[4 * (y * image.width + x) + channel] : 0);
  for (let row = 0, at = 0; row < height; row++)
    for (let column = 0; column < width; column++, at += 3) {
      const x = float(float(float(a * column) + float(b * row)) + c), left = Math.floor(x), right = x - left;
      const y = float(float(float(d * column) + float(e * row)) + f), top = Math.floor(y), down = y - top;
      for (let channel = 0; channel < 3; channel++) {
        const upper = value(left, top, channel) * (1 - right) + value(left + 1, top, channel) * right;
        const lower = value(left, top + 1, channel) * (1 - right) + value(left + 1, top + 1, channel) * right;
        crop[at + channel] = upper * (1 - down) + lower * down;
      }
    }
  return new Uint8Array(crop.buffer);
}

// An image averaged down to `factor` of its side, and the map from there.
function shrink(image, matrix, factor) {
  const width = Math.max(1, Math.round(image.width * factor)), height = Math.max(1, Math.round(image.height * factor));
  const x = image.width / width, y = image.height / height;
  const rows = average(image.data, { count: image.height, to: height, step: 4 * image.width, others: 4 * image.width });
  const data = new Uint8ClampedArray(4 * width * height); // rounds
  for (let row = 0; row < height; row++) {
    const line = rows.subarray(4 * image.width * row, 4 * image.width * (row + 1));
    data.set(average(line, { count: image.width, to: width, step: 4, others: 4 }), 4 * width * row);
  }
  // Coordinates are those of pixel centers.
  return { image: { width, height, data }, matrix: multiply(matrix, [x, 0, (x - 1) / 2, 0, y, (y - 1) / 2]) };
}

// Means of `count` items of `others` values each, `step` values apart, over `to` intervals of equal length.
function average(values, { count, to, step, others }) {
  const means = new Float32Array(to * others), length = count / to;
  for (let i = 0; i < to; i++)
    for (let j = Math.floor(i * length); j < Math.min(count, Math.ceil((i + 1) * length)); j++) {
      const weight = (Math.min(j + 1, (i + 1) * length) - Math.max(j, i * length)) / length;
      for (let k = 0; k < others; k++) means[i * others + k] += weight * values[j * step + k];
    }
  return means;
}

// Brings the labels of a crop back to the image, nearest neighbor: calls `set(index, label)` where it is not 0.
// Those of the whole image reach one pixel further, as in restore_crop.
export function restore({ labels, matrix }, image, [height, width], set) {
  const whole = wholeMatrix(image.width, image.height, [height, width]).every((value, i) => value === matrix[i]);
  for (let y = 0, index = 0; y < image.height; y++)
    for (let x = 0; x < image.width; x++, index++) {
      const column = Math.floor(matrix[0] * x + matrix[1] * y + matrix[2] + 0.5);
      const row = Math.floor(matrix[3] * x + matrix[4] * y + matrix[5] + 0.5);
      if (column < 0 || row < 0 || column >= width + whole || row >= height + whole) continue;
      const label = labels[Math.min(row, height - 1) * width + Math.min(column, width - 1)];
      if (label) set(index, label);
    }
}
