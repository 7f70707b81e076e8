"use strict";
// The keyboard: one table of keys for the viewer, a smaller one for the table of samples.
const help = document.getElementById("help");

function step(by) {
  const at = CHECKPOINTS.indexOf(view.column);
  if (at >= 0) return { column: CHECKPOINTS[clamp(at + by, 0, CHECKPOINTS.length - 1)] };
  const beyond = by > 0 ? CHECKPOINTS.find((c) => c > view.column) : CHECKPOINTS.findLast((c) => c < view.column);
  return { column: beyond ?? view.column };
}

function turn(mode) {
  return { mode: view.mode === mode ? "single" : mode };
}

function ahead(list, at, by) {
  return clamp(at + by, 0, Math.max(list.length - 1, 0));
}

const KEYS = {
  ArrowLeft: () => ({ column: ahead(data.columns, view.column, -1) }),
  ArrowRight: () => ({ column: ahead(data.columns, view.column, 1) }),
  ArrowUp: () => ({ row: ahead(data.prompts, view.row, -1) }),
  ArrowDown: () => ({ row: ahead(data.prompts, view.row, 1) }),
  ",": () => ({ shot: ahead(data.seeds, view.shot, -1) }),
  ".": () => ({ shot: ahead(data.seeds, view.shot, 1) }),
  "[": () => step(-1),
  "]": () => step(1),
  p: () => ({ pin: view.column }),
  b: () => turn("side"),
  c: () => turn("slider"),
  f: () => turn("flicker"),
  d: () => turn("difference"),
  i: () => ({ info: !view.info }),
  "+": () => ({ zoom: clamp(view.zoom + 0.5, 1, 8) }),
  "=": () => ({ zoom: clamp(view.zoom + 0.5, 1, 8) }),
  "-": () => ({ zoom: clamp(view.zoom - 0.5, 1, 8) }),
  0: () => ({ zoom: 1 }),
  Escape: () => ({ open: false }),
};

function onKey(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (key === "?") return toggleHelp(event);
  if (help?.open || event.target.matches("select, input:not([type=range]), textarea")) return;
  if (event.target.matches("input[type=range]") && key.startsWith("Arrow")) return;
  if (view.open) inViewer(event, key);
  else inTable(event, key);
}

function inViewer(event, key) {
  if (key === " ") {
    if (event.target.matches("button, a")) return; // Space presses what has the focus
    event.preventDefault();
    if (!event.repeat) hold(true);
    return;
  }
  const digit = /^[1-9]$/.test(key) && data.columns[Number(key) - 1] ? { column: Number(key) - 1 } : undefined;
  const change = digit ?? KEYS[key]?.();
  if (!change) return;
  event.preventDefault();
  show(change);
}

const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function inTable(event, key) {
  const link = event.target.closest?.("a.shot");
  if (!link) return;
  if (MOVES[key]) {
    event.preventDefault();
    moveFocus(link, ...MOVES[key]);
  } else if (/^[1-9]$/.test(key)) linkAt(link.dataset.row, Number(key) - 1, link.dataset.shot)?.focus();
  else if (key === "i" || key === "d") show({ open: true, ...placeOf(link), ...(key === "i" ? { info: true } : { mode: "difference" }) });
  else if (key === "p") show({ pin: Number(link.dataset.column) });
}

function placeOf(link) {
  return { row: Number(link.dataset.row), column: Number(link.dataset.column), shot: Number(link.dataset.shot) };
}

function toggleHelp(event) {
  event?.preventDefault();
  if (!help) return;
  if (help.open) help.close();
  else help.showModal();
}

document.addEventListener("keydown", onKey);
document.addEventListener("keyup", (event) => { if (event.key === " " && view.open) hold(false); });
addEventListener("blur", () => { if (view.open) hold(false); });
for (const id of ["help-open", "help-toggle"]) document.getElementById(id)?.addEventListener("click", toggleHelp);
document.getElementById("help-close")?.addEventListener("click", () => help.close());
