"use strict";
// What is shown, and the address that says so: the part after # holds the whole view, so that it can be sent to someone.
// A page that holds its pictures has each of them once, in its table: `data-path` is the address they have elsewhere.
const inside = new Map(Array.from(document.querySelectorAll("img[data-path]"), (image) => [image.dataset.path, image.src]));
const data = JSON.parse(document.getElementById("data").textContent, (key, value) => (["src", "thumb"].includes(key) ? pictureOf(value) : value));
const MODES = ["single", "side", "slider", "flicker", "difference"];
const CHECKPOINTS = data.columns.flatMap((column, index) => (["base", "step"].includes(column.kind) ? [index] : []));
const view = { seeds: [0], scores: false, open: false, row: 0, column: 0, shot: 0, mode: "single", pin: 0, zoom: 1, info: false };
const watchers = []; // functions that draw the view

function pictureOf(path) {
  return inside.get(path) ?? inside.get(`${path}.thumb.webp`) ?? path;
}

function columnOf(id) {
  return data.columns.findIndex((column) => column.id === id);
}

// A column of pictures from elsewhere may have fewer of them than there are seeds.
function shotAt(row, column, shot) {
  const shots = data.cells[row]?.[column] ?? [];
  return shots.length ? shots[shot % shots.length] : undefined;
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const seeds = (asked.get("seeds") ?? "").split(",").map((seed) => data.seeds.indexOf(Number(seed || NaN))).filter((k) => k >= 0);
  const column = columnOf(asked.get("column"));
  view.seeds = seeds.length ? seeds : [0];
  view.scores = asked.has("scores");
  view.open = column >= 0 && data.prompts.length > 0;
  view.column = Math.max(column, 0);
  view.row = clamp((Number(asked.get("prompt")) || 1) - 1, 0, Math.max(data.prompts.length - 1, 0));
  view.shot = Math.max(data.seeds.indexOf(Number(asked.get("seed") ?? NaN)), 0);
  view.mode = MODES.includes(asked.get("mode")) ? asked.get("mode") : "single";
  view.pin = Math.max(columnOf(asked.get("pin") ?? data.pin), 0);
  view.zoom = clamp(Number(asked.get("zoom")) || 1, 1, 8);
  view.info = asked.has("info");
}

function address() {
  const parts = new URLSearchParams();
  if (view.seeds.join() !== "0") parts.set("seeds", view.seeds.map((k) => data.seeds[k]).join());
  if (view.scores) parts.set("scores", "1");
  if (view.open) {
    parts.set("prompt", view.row + 1);
    parts.set("column", data.columns[view.column].id);
    if (data.seeds.length) parts.set("seed", data.seeds[view.shot]);
    if (view.mode !== "single") parts.set("mode", view.mode);
    if (data.columns[view.pin].id !== data.pin) parts.set("pin", data.columns[view.pin].id);
    if (view.zoom !== 1) parts.set("zoom", view.zoom);
    if (view.info) parts.set("info", "1");
  }
  return parts.toString();
}

// Change the view, draw it, and write it into the address without a new entry in the history.
function show(change) {
  Object.assign(view, change);
  for (const draw of watchers) draw();
  const text = address();
  if (text !== location.hash.slice(1) && (text || location.hash.includes("="))) history.replaceState(null, "", `#${text}`);
}

function start() {
  readAddress();
  show({});
  addEventListener("hashchange", () => {
    if (location.hash.slice(1) === address()) return;
    if (location.hash && !location.hash.includes("=")) return; // a jump to a section of the page
    readAddress();
    show({});
  });
}
