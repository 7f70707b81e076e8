"use strict";
// Verdicts: those that the project has, and those given here, which this browser keeps until they are saved.
const data = JSON.parse(document.getElementById("data").textContent);
const DRAWER = `paleo-review:${data.species}:`; // every data set of this species
const WHO = "paleo-review-who";
const LEVELS = 1000; // of undo
const known = new Map(data.reviews.map((review) => [review.sha256, review]));
let given = {}; // sha256 -> { verdict, why, who, when, saved: is it in a file }
let past = []; // what undo brings back: { at, before: [[sha256, what was given before or null], …] }
let forgetful = false;

function remember() {
  try {
    localStorage.setItem(DRAWER + data.digest, JSON.stringify({ given, past }));
  } catch {
    forgetful = true;
  }
}

function recall(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

function recallAll() {
  const kept = recall(DRAWER + data.digest) ?? {};
  given = kept.given ?? {};
  past = kept.past ?? [];
}

// Verdicts on pictures of this page that were given for another data set and never saved.
function leftElsewhere() {
  const here = new Set(data.pictures.map((picture) => picture.sha256));
  const found = {};
  let names = [];
  try {
    names = Object.keys(localStorage);
  } catch {
    forgetful = true;
  }
  for (const name of names.filter((name) => name.startsWith(DRAWER) && name !== DRAWER + data.digest)) {
    const other = recall(name);
    for (const [sha256, entry] of Object.entries(other?.given ?? {})) {
      const open = !entry.saved && time(entry) > time(verdictOn(sha256));
      if (here.has(sha256) && open) found[sha256] = later(found[sha256], entry);
    }
  }
  return found;
}

function time(entry) {
  return Date.parse(entry?.when ?? "") || 0;
}

function later(one, other) {
  if (!one || !other) return one ?? other;
  return time(one) > time(other) ? one : other;
}

// The last word of a person on a picture, if there is one.
function verdictOn(sha256) {
  return later(known.get(sha256), given[sha256]);
}

// Now, but never before what is there already: someone else's clock may be ahead.
function stamp(sha256) {
  const moment = Math.max(Date.now(), time(verdictOn(sha256)) + 1000);
  return new Date(moment).toISOString().replace(/\.\d+Z$/, "Z");
}

function judge(pictures, verdict, why, at) {
  past.push({ at, before: pictures.map(({ sha256 }) => [sha256, given[sha256] ?? null]) });
  past = past.slice(-LEVELS);
  for (const { sha256 } of pictures) {
    const last = verdictOn(sha256);
    const reason = why ?? (last?.verdict === verdict ? last.why : "");
    given[sha256] = { verdict, why: reason.replace(/\s+/g, " ").trim(), who: name(), when: stamp(sha256), saved: false };
  }
  remember();
}

// Takes the last step back and says where it was made; undefined when there is none.
function undo() {
  const last = past.pop();
  for (const [sha256, entry] of last?.before ?? []) takeBackOne(sha256, entry);
  remember();
  return last?.at;
}

// What was undone may be in a saved file already: what stood before it must be newer than that to win.
function takeBackOne(sha256, entry) {
  const before = entry ?? known.get(sha256);
  if (given[sha256]?.saved && before) given[sha256] = { ...before, when: stamp(sha256), saved: false };
  else if (entry) given[sha256] = entry;
  else delete given[sha256];
}

function name() {
  return document.getElementById("who").value.replace(/\s+/g, " ").trim();
}

function unsaved() {
  return Object.values(given).filter((entry) => !entry.saved).length;
}

function allSaved() {
  for (const entry of Object.values(given)) Object.assign(entry, { saved: true, who: entry.who || name() });
  remember();
}

function field(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// data/reviews/<species>.csv as the project writes it: what it had, and what was given here.
function csv() {
  const all = [...new Set([...known.keys(), ...Object.keys(given)])].sort();
  const lines = all.map((sha256) => {
    const entry = verdictOn(sha256);
    const who = entry.who || (entry === given[sha256] ? name() : "");
    return [sha256, entry.verdict, entry.why, who, entry.when].map(field).join(",");
  });
  return ["sha256,verdict,why,who,when", ...lines, ""].join("\n");
}
