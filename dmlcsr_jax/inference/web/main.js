// Joins the page and the worker that parses.
import { start } from "./page.js";

const page = document.querySelector(".demo"), status = page.querySelector(".status");
const worker = new Worker("worker.js", { type: "module" });
const waiting = new Map(); // id -> [resolve, reject]
let count = 0;

const parser = ({ file }) => new Promise((resolve, reject) => {
  waiting.set(++count, [resolve, reject]);
  worker.postMessage({ id: count, file });
});

function announce(text, failed) {
  if (waiting.size) return; // the page already speaks of a photo
  status.textContent = text;
  status.classList.toggle("failed", failed);
}

worker.onmessage = ({ data }) => {
  if (data.id === undefined) return announce(data.error ?? `Ready (${data.ready}). Choose a photo.`, "error" in data);
  const [resolve, reject] = waiting.get(data.id);
  waiting.delete(data.id);
  if (data.error) reject(new Error(data.error));
  else resolve(data);
};
worker.onerror = () => {
  const text = "This browser cannot run the network. A current one can.";
  announce(text, true);
  for (const [, reject] of waiting.values()) reject(new Error(text));
};

start(page, { examples: [], megabytes: Infinity }, parser);
announce("Loading the network…", false);
