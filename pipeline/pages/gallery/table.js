"use strict";
// The table: which seeds it shows, and moving through it with the keyboard.
const table = document.getElementById("table");
const frame = document.querySelector(".samples-frame");

function drawTable() {
  if (!table) return;
  for (const cell of table.querySelectorAll(".shots")) {
    const places = new Set(view.seeds.map((k) => k % cell.children.length)); // as in shotAt
    for (const item of cell.children) item.hidden = !places.has(Number(item.dataset.shot));
  }
  const across = view.seeds.length === 1 ? 1 : view.seeds.length <= 4 ? 2 : 3;
  table.style.setProperty("--across", across);
  table.classList.toggle("with-scores", view.scores);
  for (const box of document.querySelectorAll("input[name=seed]")) box.checked = view.seeds.includes(Number(box.value));
  document.getElementById("scores").checked = view.scores;
  fit();
}

// A table that fits needs no box to scroll in: its header then sticks to the window itself.
function fit() {
  frame.classList.remove("fits");
  frame.classList.toggle("fits", table.scrollWidth <= frame.clientWidth + 1);
}

function chooseSeeds(event) {
  const chosen = [...document.querySelectorAll("input[name=seed]:checked")].map((box) => Number(box.value));
  if (chosen.length) show({ seeds: chosen });
  else event.target.checked = true; // one stays
}

function openShot(event) {
  const link = event.target.closest("a.shot");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show({ open: true, row: Number(link.dataset.row), column: Number(link.dataset.column), shot: Number(link.dataset.shot) });
}

function linkAt(row, column, shot) {
  const cell = table.tBodies[0].rows[row]?.cells[column + 1];
  return cell?.querySelector(`a.shot[data-shot="${shot}"]:not([hidden])`) ?? cell?.querySelector("a.shot:not([hidden])");
}

// The next picture in a direction, over gaps and as far as the table goes.
function moveFocus(link, down, right) {
  let { row, column, shot } = link.dataset;
  for (let steps = 0; steps < 50; steps += 1) {
    row = Number(row) + down;
    column = Number(column) + right;
    const next = linkAt(row, column, shot);
    if (next) return next.focus();
    if (!table.tBodies[0].rows[row]?.cells[column + 1] || column < 0) return undefined;
  }
  return undefined;
}

if (table) {
  document.querySelector(".tools").hidden = false;
  table.addEventListener("click", openShot);
  for (const box of document.querySelectorAll("input[name=seed]")) box.addEventListener("change", chooseSeeds);
  document.getElementById("scores").addEventListener("change", (event) => show({ scores: event.target.checked }));
  addEventListener("resize", fit);
  watchers.push(drawTable);
}
