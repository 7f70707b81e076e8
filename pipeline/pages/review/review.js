"use strict";
// The wall of pictures, the panel beside it with the current one, and what is shown of the verdicts.
const by = (id) => document.getElementById(id);
const cards = [...document.querySelectorAll(".pick")];
const groups = [...document.querySelectorAll(".series")];
const SIGNS = { keep: "✓", drop: "✕" };
const WORDS = { keep: "kept", drop: "dropped" };
let at = 0;
let filter = "all";

function effective(picture) {
  return verdictOn(picture.sha256)?.verdict ?? picture.verdict;
}

const FILTERS = {
  all: () => true,
  uncertain: (picture) => picture.uncertain !== "",
  keep: (picture) => effective(picture) === "keep",
  drop: (picture) => effective(picture) === "drop",
  open: (picture) => !verdictOn(picture.sha256),
};

function drawCard(index) {
  const picture = data.pictures[index], card = cards[index];
  const person = verdictOn(picture.sha256)?.verdict ?? "";
  card.dataset.person = person;
  card.dataset.verdict = person || picture.verdict;
  card.querySelector(".mark").textContent = SIGNS[person || picture.verdict];
  const said = person ? `${WORDS[person]} by a person` : `${WORDS[picture.verdict]} by the machine`;
  card.setAttribute("aria-label", `${index + 1} of ${cards.length}: ${picture.title}, ${said}${picture.uncertain ? ", uncertain" : ""}`);
}

function drawWall() {
  data.pictures.forEach((picture, index) => { cards[index].hidden = !FILTERS[filter](picture); });
  for (const group of groups) group.hidden = !group.querySelector(".pick:not([hidden])");
  by("none").hidden = !cards.length || cards.some((card) => !card.hidden);
}

function drawCounts() {
  const reviewed = data.pictures.filter((picture) => verdictOn(picture.sha256)).length;
  by("count").textContent = `${reviewed} of ${data.pictures.length} reviewed`;
  by("progress").value = reviewed;
  by("unsaved").textContent = unsaved() ? `${unsaved()} not saved yet` : "";
  for (const place of document.querySelectorAll("[data-count]")) {
    place.textContent = data.pictures.filter(FILTERS[place.dataset.count]).length;
  }
}

function badge(element, text, kind) {
  element.textContent = text;
  element.className = `badge ${kind}`;
  element.hidden = !text;
}

function drawPanel() {
  const picture = data.pictures[at];
  if (!picture) return;
  const person = verdictOn(picture.sha256);
  drawLarge(picture);
  const who = person?.who ? ` by ${person.who}` : "";
  badge(by("person"), person ? `${WORDS[person.verdict]}${who}${person.why ? `: ${person.why}` : ""}` : "", person?.verdict === "keep" ? "good" : "bad");
  badge(by("machine"), picture.by === "review" ? "" : `machine: ${WORDS[picture.verdict]}`, ""); // else it is what a person said
  by("doubt").textContent = picture.uncertain;
  by("sentence").textContent = [picture.sentence, picture.class && `CLIP: ${picture.class} (${picture.margin})`].filter(Boolean).join(" ");
  by("caption").textContent = picture.caption;
  by("link").hidden = !picture.page;
  if (picture.page) by("link").href = picture.page;
  by("link").textContent = picture.title;
  by("title").textContent = picture.page ? "" : picture.title;
  by("credit").textContent = [picture.author, picture.licence, picture.source, picture.size].filter(Boolean).join(" · ");
}

// The file itself where it is at hand, else the thumbnail.
function drawLarge(picture) {
  const large = by("large"), address = picture.larger || picture.thumb;
  large.alt = picture.caption;
  if (large.getAttribute("src") === address) return;
  large.onerror = () => { large.onerror = null; large.src = picture.thumb; };
  large.src = address;
  const next = data.pictures[at + 1];
  if (next?.larger) new Image().src = next.larger; // it is there before the key is pressed
}

function goTo(index, focus = true) {
  if (!cards[index]) return;
  cards[at].tabIndex = -1;
  cards[at].removeAttribute("aria-current");
  at = index;
  cards[at].tabIndex = 0;
  cards[at].setAttribute("aria-current", "true");
  if (focus) cards[at].focus({ preventScroll: true });
  if (focus) cards[at].scrollIntoView({ block: "nearest" });
  drawPanel();
}

// The nearest picture in a direction that is shown and satisfies `fits`; undefined when there is none.
function nearest(step, fits = () => true) {
  for (let index = at + step; index >= 0 && index < cards.length; index += step) {
    if (!cards[index].hidden && fits(data.pictures[index])) return index;
  }
  return undefined;
}

function move(step, fits) {
  goTo(nearest(step, fits) ?? at);
}

// Up and down: the picture of the next row that is closest to the middle of this one.
function moveRow(step) {
  const middle = ({ left, width }) => left + width / 2;
  const here = cards[at].getBoundingClientRect();
  let best, row;
  for (let index = nearest(step); index !== undefined && cards[index]; index += step) {
    if (cards[index].hidden) continue;
    const box = cards[index].getBoundingClientRect();
    if (Math.abs(box.top - here.top) < here.height / 2) continue;
    row ??= box.top;
    if (Math.abs(box.top - row) > box.height / 2) break;
    const off = Math.abs(middle(box) - middle(here));
    if (!best || off < best.off) best = { index, off };
  }
  if (best) goTo(best.index);
}

function say(text) {
  by("said").textContent = text;
}

function redraw(indices) {
  indices.forEach(drawCard);
  drawWall();
  drawCounts();
  drawPanel();
}

function decide(verdict, why, whole = false) {
  if (!cards.length) return;
  const cluster = data.pictures[at].cluster;
  const indices = whole ? data.pictures.flatMap((picture, index) => (picture.cluster === cluster ? [index] : [])) : [at];
  judge(indices.map((index) => data.pictures[index]), verdict, why, at);
  say(`${indices.length > 1 ? `${indices.length} pictures` : data.pictures[at].title}: ${WORDS[verdict]}${why ? `, ${why}` : ""}`);
  const next = nearest(1, (picture) => !(whole && picture.cluster === cluster)) ?? nearest(-1);
  redraw(indices);
  goTo(next ?? at);
}

function takeBack() {
  const where = undo();
  if (where === undefined) return say("There is nothing to undo.");
  say("Undone.");
  redraw(cards.map((_, index) => index));
  if (cards[where]?.hidden) chooseFilter("all");
  goTo(where);
}

function chooseFilter(value) {
  filter = value;
  document.querySelector(`input[name=filter][value=${value}]`).checked = true;
  drawWall();
  if (cards[at]?.hidden) goTo(nearest(1) ?? nearest(-1) ?? at, false);
}

function hasName() {
  if (name() || !Object.keys(given).length) return true;
  by("who").focus();
  by("unsaved").textContent = "Say who you are first: a verdict has a name.";
  say("Say who you are first.");
  return false;
}

function done() {
  allSaved();
  drawCounts();
}

function save() {
  if (!hasName()) return;
  const address = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  Object.assign(document.createElement("a"), { href: address, download: `${data.species}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
  done();
  by("unsaved").textContent = `saved as ${data.species}.csv`;
  say(`Saved as ${data.species}.csv.`);
}

function copyCsv() {
  if (!hasName()) return;
  copyText(csv()).then(
    () => { done(); by("unsaved").textContent = "copied"; },
    () => { by("unsaved").textContent = "this browser does not let a page copy: save instead"; },
  );
}

function offerElsewhere() {
  const found = leftElsewhere(), n = Object.keys(found).length;
  by("elsewhere").hidden = !n;
  by("elsewhere-text").textContent = `${n === 1 ? "One verdict" : `${n} verdicts`} that you gave for another version of this data set ${n === 1 ? "was" : "were"} never saved.`;
  by("elsewhere-take").onclick = () => {
    past.push({ at, before: Object.keys(found).map((sha256) => [sha256, given[sha256] ?? null]) });
    Object.assign(given, found);
    remember();
    by("elsewhere").hidden = true;
    redraw(cards.map((_, index) => index));
  };
}

function start() {
  recallAll();
  remember();
  by("forgetful").hidden = !forgetful;
  offerElsewhere();
  redraw(cards.map((_, index) => index));
  goTo(Math.max(0, data.pictures.findIndex((picture) => !verdictOn(picture.sha256))), false);
}
