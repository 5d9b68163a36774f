// The page's behavior. It is called with `element` (the page), `props` (examples, megabytes) and `parser`. A request
// to that is { example }, a name, or { file }; it returns what `answers.describe` lists, decoded: `image` can be drawn,
// `labels` and `owners` are arrays. `numbers` may be absent. It throws an error whose message is for the user.
const $ = (selector) => element.querySelector(selector);
const SHOWN = 1024; // pixels of the longer side on the page; downloads have the size of the photo
const canvas = $("canvas"), tip = $(".tip"), divider = $(".divider"), opacity = $(".opacity");
const chosen = new Uint8Array(256); // 1 for classes to show
let photo = null; // the parser's answer
let names = []; // class number -> name
let face = 0; // the number of the face to show, 0 for all
let colors = null; // canvas with the colors of the chosen parts
let turn = 0; // counts requests: an answer that comes after the next request is dropped
const cursor = { x: 0.5, y: 0.5 };

function make(tag, attributes = {}, ...children) {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
}

function say(text, failed = false) {
  $(".status").textContent = text;
  $(".status").classList.toggle("failed", failed);
}

// Requests

async function ask(request, title) {
  const mine = ++turn;
  say(`Parsing ${title}…`);
  $(".result").classList.add("busy");
  try {
    const answer = await parser(request);
    if (mine === turn) show(answer, title);
  } catch (error) {
    if (mine === turn) say(error.message, true);
  } finally {
    if (mine === turn) $(".result").classList.remove("busy");
  }
}

function send(file) {
  if (file.size > props.megabytes * 1e6) return say(`${file.name} has more than ${props.megabytes} MB.`, true);
  ask({ file }, file.name);
}

// Drawing

function show(answer, title) {
  photo = { ...answer, title };
  const zoom = Math.min(1, SHOWN / Math.max(photo.width, photo.height));
  canvas.width = Math.max(1, Math.round(zoom * photo.width));
  canvas.height = Math.max(1, Math.round(zoom * photo.height));
  colors = make("canvas", { width: canvas.width, height: canvas.height });
  divider.value = 30;
  face = 0;
  tip.hidden = true;
  listFaces();
  listParts();
  $(".result").hidden = false;
  const found = photo.found === 1 ? "1 face" : `${photo.found} faces`;
  const facts = [photo.found && photo.groups.length ? found : "No face was found",
    `${photo.width} × ${photo.height} pixels`, `${photo.seconds.toFixed(2)} s`];
  say(`${title}: ${facts.map((fact) => fact.replaceAll(" ", "\u00a0")).join(" · ")}`);
  paint();
}

const isChosen = (index) => chosen[photo.labels[index]] && (!face || photo.owners[index] === face);

function indexAt(x, y) { // fractions of width and height, 0..1
  const column = Math.min(photo.width - 1, Math.floor(x * photo.width));
  return Math.min(photo.height - 1, Math.floor(y * photo.height)) * photo.width + column;
}

function paint() { // after a change of the chosen parts
  const { width, height } = colors, context = colors.getContext("2d");
  const pixels = context.createImageData(width, height), values = new Uint32Array(pixels.data.buffer);
  const table = new Uint32Array(256);
  for (const part of photo.groups.flatMap((group) => group.parts)) {
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(part.color.slice(at, at + 2), 16));
    table[part.id] = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  }
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0; x < width; x++, at++) {
      const index = indexAt((x + 0.5) / width, (y + 0.5) / height);
      if (isChosen(index)) values[at] = table[photo.labels[index]];
    }
  context.putImageData(pixels, 0, 0);
  $(".cutout").disabled = $(".mask").disabled = !photo.groups.length;
  compose();
}

function compose() { // after a change of a slider
  const { width, height } = canvas, context = canvas.getContext("2d"), x = Math.round((width * divider.value) / 100);
  context.drawImage(photo.image, 0, 0, width, height);
  context.globalAlpha = opacity.value / 100;
  if (x < width) context.drawImage(colors, x, 0, width - x, height, x, 0, width - x, height);
  context.globalAlpha = 1;
  const unit = Math.max(1, width / 500);
  if (photo.found > 1) photo.faces.forEach((box, number) => outline(context, box, number + 1, unit));
  context.fillStyle = "white";
  context.shadowColor = "black";
  context.shadowBlur = 4 * unit;
  context.fillRect(x - unit, 0, 2 * unit, height);
  context.beginPath();
  context.arc(x, height / 2, 8 * unit, 0, 7);
  context.fill();
  context.shadowBlur = 0;
}

function outline(context, box, number, unit) {
  const zoom = canvas.width / photo.width, [left, top, right, bottom] = box.map((value) => value * zoom);
  context.strokeStyle = context.fillStyle = !face || face === number ? "white" : "rgb(255 255 255 / 40%)";
  context.lineWidth = unit;
  context.strokeRect(left, top, right - left, bottom - top);
  context.font = `${Math.round(13 * unit)}px sans-serif`;
  context.fillText(number, left + 4 * unit, top + 15 * unit);
}

// Choices

function listFaces() {
  const options = photo.found > 1 ? ["All", ...photo.faces.map((_, number) => String(number + 1))] : [];
  const radios = options.map((text, number) => {
    const onchange = () => { face = number; paint(); };
    return make("label", {}, make("input", { type: "radio", name: "face", checked: !number, onchange }), text);
  });
  $(".faces").replaceChildren($(".faces legend"), make("div", { className: "chips" }, ...radios));
  $(".faces").hidden = !options.length;
}

function listParts() {
  chosen.fill(0);
  names = [];
  $(".groups").replaceChildren(...photo.groups.map((group) => {
    const all = make("input", { type: "checkbox", checked: true });
    const boxes = group.parts.map((part) => {
      chosen[part.id] = 1;
      names[part.id] = part.name;
      return make("input", { type: "checkbox", checked: true, value: part.id });
    });
    const update = () => {
      boxes.forEach((box) => { chosen[box.value] = Number(box.checked); });
      all.checked = boxes.every((box) => box.checked);
      all.indeterminate = !all.checked && boxes.some((box) => box.checked);
      paint();
    };
    all.onchange = () => { boxes.forEach((box) => { box.checked = all.checked; }); update(); };
    const labels = group.parts.map((part, number) => {
      const swatch = make("span", { className: "swatch" });
      swatch.style.background = part.color;
      boxes[number].onchange = update;
      return make("label", { title: part.key }, boxes[number], swatch, part.name);
    });
    const legend = make("legend", {}, make("label", {}, all, group.name));
    return make("fieldset", {}, legend, make("div", { className: "chips" }, ...labels));
  }));
}

// The part under the pointer

function nameAt(x, y) {
  const name = names[photo.labels[indexAt(x, y)]];
  tip.hidden = false;
  tip.textContent = name || "background";
  const right = x > 0.6, low = y > 0.8;
  tip.style.left = right ? "" : `calc(${100 * x}% + 14px)`;
  tip.style.right = right ? `calc(${100 * (1 - x)}% + 14px)` : "";
  tip.style.top = low ? "" : `calc(${100 * y}% + 10px)`;
  tip.style.bottom = low ? `calc(${100 * (1 - y)}% + 10px)` : "";
}

function follow(event) {
  const box = canvas.getBoundingClientRect();
  const x = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  const y = Math.min(1, Math.max(0, (event.clientY - box.top) / box.height));
  if (event.type === "pointermove" && event.buttons) {
    divider.value = 100 * x;
    compose();
  }
  nameAt(x, y);
}

canvas.onpointerdown = (event) => { canvas.setPointerCapture(event.pointerId); follow(event); };
canvas.onpointermove = follow;
canvas.onpointerleave = canvas.onblur = () => { tip.hidden = true; };
canvas.onkeydown = (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!step) return;
  event.preventDefault();
  cursor.x = Math.min(1, Math.max(0, cursor.x + 0.02 * step[0]));
  cursor.y = Math.min(1, Math.max(0, cursor.y + 0.02 * step[1]));
  compose();
  const context = canvas.getContext("2d"), size = Math.max(4, canvas.width / 80);
  context.strokeStyle = "white";
  context.lineWidth = size / 4;
  context.strokeRect(cursor.x * canvas.width - size / 2, cursor.y * canvas.height - size / 2, size, size);
  nameAt(cursor.x, cursor.y);
};
divider.oninput = opacity.oninput = compose;

// Downloads, at the size of the photo

function save(url, suffix) {
  const stem = photo.title.replace(/\.[^.]*$/, "").replace(/\W+/g, "_").toLowerCase();
  make("a", { href: url, download: `${stem}_${suffix}.png` }).click();
}

function saveDrawn(suffix, change) {
  const { width, height } = photo, drawn = make("canvas", { width, height }), context = drawn.getContext("2d");
  context.drawImage(photo.image, 0, 0);
  const pixels = context.getImageData(0, 0, width, height);
  for (let index = 0; index < width * height; index++) change(pixels.data, 4 * index, isChosen(index));
  context.putImageData(pixels, 0, 0);
  drawn.toBlob((blob) => {
    const url = URL.createObjectURL(blob);
    save(url, suffix);
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  });
}

$(".cutout").onclick = () => saveDrawn("cutout", (data, at, inside) => { if (!inside) data.fill(0, at, at + 4); });
$(".mask").onclick = () => saveDrawn("mask", (data, at, inside) => data.fill(inside ? 255 : 0, at, at + 3));
$(".numbers").onclick = () => {
  if (photo.numbers) return save(photo.numbers, "labels");
  saveDrawn("labels", (data, at) => data.fill(photo.labels[at / 4], at, at + 3));
};

// Sources of photos

$(".drop input").onchange = (event) => {
  if (event.target.files[0]) send(event.target.files[0]);
  event.target.value = ""; // so that the same file can be chosen again
};
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files[0]) send(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files[0]) send(event.clipboardData.files[0]);
});

$(".examples").replaceChildren(...props.examples.map(({ name, url }) =>
  make("button", { type: "button", title: name, onclick: () => ask({ example: name }, name) },
    make("img", { src: url, alt: name }))));

const video = $("video");
const closeWebcam = () => {
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  $(".webcam").hidden = true;
  $(".camera").hidden = false;
};
$(".camera").hidden = !navigator.mediaDevices?.getUserMedia;
$(".camera").onclick = async () => {
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    $(".webcam").hidden = false;
    $(".camera").hidden = true;
    await video.play();
    $(".shoot").focus();
  } catch (error) {
    closeWebcam();
    say("The webcam cannot be used. Is it connected, and may this page use it?", true);
  }
};
$(".stop").onclick = () => { closeWebcam(); $(".camera").focus(); };
$(".shoot").onclick = () => {
  const frame = make("canvas", { width: video.videoWidth, height: video.videoHeight });
  frame.getContext("2d").drawImage(video, 0, 0);
  closeWebcam();
  frame.toBlob((blob) => send(new File([blob], "webcam.jpg")), "image/jpeg", 0.95);
};

$(".source h2").hidden = !props.examples.length;
$(".examples button")?.click(); // so that the page opens with a result, and the network is compiled
