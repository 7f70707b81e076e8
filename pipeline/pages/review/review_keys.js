"use strict";
// Keys, buttons and the two dialogs.
const why = by("why"), words = by("words"), help = by("help");

const KEYS = {
  k: () => decide("keep"),
  d: () => decide("drop"),
  K: () => decide("keep", undefined, true),
  D: () => decide("drop", undefined, true),
  w: () => ask(),
  u: () => takeBack(),
  j: () => move(-1),
  l: () => move(1),
  n: () => move(1, FILTERS.open),
  s: () => save(),
  "?": () => help.showModal(),
  ArrowLeft: () => move(-1),
  ArrowRight: () => move(1),
  ArrowUp: () => moveRow(-1),
  ArrowDown: () => moveRow(1),
};

// The reason under a digit: 1 to 9, then 0.
function reasonOf(key) {
  return /^[0-9]$/.test(key) ? data.reasons[(Number(key) + 9) % 10] : undefined;
}

// Why: of a picture that has a verdict the reason changes, one without is dropped for it.
function ask() {
  if (!cards.length) return;
  const person = verdictOn(data.pictures[at].sha256);
  by("why-title").textContent = person?.verdict === "keep" ? "Keep it, because" : "Drop it, because";
  words.value = person?.why ?? "";
  why.showModal();
  words.focus();
  words.select();
}

function answer(reason) {
  why.close();
  const person = verdictOn(data.pictures[at].sha256), here = at;
  decide(person?.verdict ?? "drop", reason);
  if (person && !cards[here].hidden) goTo(here);
}

function onKey(event) {
  if ((event.ctrlKey || event.metaKey) && event.key === "z" && !event.target.matches("input")) {
    event.preventDefault();
    return takeBack();
  }
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (why.open) return onWhyKey(event);
  if (event.target.matches("input:not([type=radio])")) return;
  if (event.target.matches("[type=radio]") && event.key.startsWith("Arrow")) return;
  const reason = reasonOf(event.key);
  const act = reason ? () => decide("drop", reason) : KEYS[event.key] ?? (event.shiftKey ? undefined : KEYS[event.key.toLowerCase()]);
  if (!act) return;
  event.preventDefault();
  act();
}

function onWhyKey(event) {
  const untouched = words.value === "" || (words.selectionStart === 0 && words.selectionEnd === words.value.length);
  const reason = untouched ? reasonOf(event.key) : undefined;
  if (reason === undefined && !(event.key === "Enter" && event.target === words)) return;
  event.preventDefault();
  answer(reason ?? words.value);
}

const ACTS = { keep: () => decide("keep"), drop: () => decide("drop"), why: ask, undo: takeBack };
document.addEventListener("keydown", onKey);
for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", ACTS[button.dataset.do]);
for (const button of document.querySelectorAll("[data-reason]")) {
  button.addEventListener("click", () => decide("drop", data.reasons[button.dataset.reason]));
}
for (const button of document.querySelectorAll("[data-why]")) {
  button.addEventListener("click", () => answer(data.reasons[button.dataset.why]));
}
by("wall").addEventListener("click", (event) => {
  const card = event.target.closest(".pick");
  if (card) goTo(Number(card.dataset.index));
});
for (const choice of document.querySelectorAll("input[name=filter]")) choice.addEventListener("change", () => chooseFilter(choice.value));
by("save").addEventListener("click", save);
by("copy").addEventListener("click", copyCsv);
by("help-open").addEventListener("click", () => help.showModal());
by("help-close").addEventListener("click", () => help.close());
by("why-close").addEventListener("click", () => why.close());
try {
  by("who").value = localStorage.getItem(WHO) ?? "";
} catch {
  forgetful = true;
}
by("who").addEventListener("change", () => {
  try {
    localStorage.setItem(WHO, name());
  } catch {
    forgetful = true;
  }
});
addEventListener("beforeunload", (event) => { if (forgetful && unsaved()) event.preventDefault(); });
