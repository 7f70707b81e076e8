"use strict";
// The viewer: draws `view` into the dialog. Nothing here keeps a state of its own but where the picture was dragged.
const $ = (id) => document.getElementById(id);
const viewer = $("viewer");
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
const FLICKER_MS = 600;
const offset = { x: 0, y: 0 };
let ticking = 0;

function drawViewer() {
  if (!viewer) return;
  if (!view.open) return closeViewer();
  if (!viewer.open) {
    viewer.showModal();
    $("stage").focus(); // or the first button would have it, and Space would press that
  }
  const now = shotAt(view.row, view.column, view.shot);
  const pinned = shotAt(view.row, view.pin, view.shot);
  const alone = view.pin === view.column || !now?.src || !pinned?.src;
  drawHead(now);
  drawStage(now, pinned, alone);
  drawInfo(now);
  drawFilm();
  drawSeeds();
  return undefined;
}

function closeViewer() {
  flicker(false);
  if (!viewer.open) return;
  viewer.close();
  linkAt(view.row, view.column, view.shot)?.focus();
}

function drawHead(now) {
  $("what").textContent = data.prompts[view.row];
  $("which").textContent = `${data.columns[view.column].label}${now?.label ? `, ${now.label}` : ""}`;
  for (const button of viewer.querySelectorAll("button[data-mode]")) button.setAttribute("aria-pressed", button.dataset.mode === view.mode);
  $("pin").value = data.columns[view.pin].id;
  $("info-toggle").setAttribute("aria-pressed", view.info);
  $("zoom").value = view.zoom;
}

function drawStage(now, pinned, alone) {
  const stage = $("stage");
  stage.dataset.mode = alone ? "single" : view.mode;
  stage.classList.remove("held");
  stage.classList.toggle("zoomed", view.zoom > 1);
  const size = now?.src ? now : { width_px: 1, height_px: 1 };
  stage.style.setProperty("--ratio", size.width_px / size.height_px);
  stage.style.setProperty("--most", `${Math.max(640, size.width_px)}px`);
  const [label, other] = [data.columns[view.column].label, data.columns[view.pin].label];
  put("now", now, stage.dataset.mode === "difference" ? `${label} − ${other}` : label);
  put("pin", pinned, `◆ ${other}`);
  $("image-under").src = pinned?.src ?? EMPTY;
  $("remark").textContent = remark(now, pinned);
  place();
  flicker(view.mode === "flicker" && !alone);
}

const EMPTY = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";

function put(name, shot, label) {
  $(`image-${name}`).src = shot?.src ?? EMPTY;
  $(`image-${name}`).alt = shot?.alt ?? "";
  $(`label-${name}`).textContent = label;
}

function remark(now, pinned) {
  if (!now?.src) return `not generated: ${now?.reason ?? "nothing here"}`;
  if (view.mode === "single") return "";
  if (!pinned?.src) return "nothing is pinned here to compare with";
  if (view.pin === view.column) return "this is the pinned column itself; move to another one to compare";
  if (view.mode === "difference") return "absolute difference × 2: black is equal";
  if (view.mode === "flicker" && calm) return "hold Space to see the pinned picture in the same place";
  return "";
}

function place() {
  if (view.zoom === 1) Object.assign(offset, { x: 0, y: 0 });
  const style = $("stage").style;
  style.setProperty("--zoom", view.zoom);
  style.setProperty("--x", `${offset.x}px`);
  style.setProperty("--y", `${offset.y}px`);
}

function hold(down) {
  $("stage").classList.toggle("held", down && Boolean(shotAt(view.row, view.pin, view.shot)?.src));
}

function flicker(on) {
  clearInterval(ticking);
  if (on && !calm) ticking = setInterval(() => $("stage").classList.toggle("held"), FLICKER_MS);
}

function drawInfo(now) {
  $("info").hidden = !view.info;
  const pairs = (now?.facts ?? []).flatMap(([name, value]) => [element("dt", name), element("dd", value)]);
  $("facts").replaceChildren(...pairs);
  part("parameters", now?.parameters);
  part("command", now?.command);
  $("credit").hidden = !now?.credit;
  if (now?.credit) $("credit-line").replaceChildren(...creditOf(now.credit));
  $("nearest").hidden = !now?.nearest;
  if (now?.nearest) {
    $("nearest-image").src = now.nearest.thumb;
    $("nearest-image").alt = now.nearest.caption;
    $("nearest-line").replaceChildren(element("b", `cosine ${now.nearest.cosine}`), element("br"), ...creditOf(now.nearest));
  }
}

function part(name, text) {
  $(name).hidden = !text;
  $(`${name}-text`).textContent = text ?? "";
}

function creditOf(credit) {
  const title = credit.page ? link(credit.page, credit.title) : element("span", credit.title);
  const licence = credit.licence_url ? link(credit.licence_url, credit.licence) : element("span", credit.licence);
  return [title, element("br"), element("span", credit.author), element("br"), licence];
}

function element(tag, text = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function link(to, text) {
  const made = element("a", text);
  made.href = to;
  made.rel = "noreferrer";
  return made;
}

function drawFilm() {
  const buttons = data.columns.map((column, index) => {
    const shot = shotAt(view.row, index, view.shot);
    const button = element("button");
    button.type = "button";
    button.setAttribute("aria-pressed", index === view.column);
    const picture = element(shot?.thumb ? "img" : "span");
    if (shot?.thumb) Object.assign(picture, { src: shot.thumb, alt: "" });
    else picture.className = "none";
    button.append(picture, element("span", `${index === view.pin ? "◆ " : ""}${column.label}`));
    button.addEventListener("click", () => show({ column: index }));
    return button;
  });
  $("film").replaceChildren(...buttons);
  buttons[view.column].scrollIntoView({ block: "nearest", inline: "nearest" });
}

function drawSeeds() {
  const buttons = data.seeds.map((seed, index) => {
    const button = element("button", seed);
    button.type = "button";
    button.setAttribute("aria-pressed", index === view.shot);
    button.setAttribute("aria-label", `seed ${seed}`);
    button.addEventListener("click", () => show({ shot: index }));
    return button;
  });
  $("seeds").replaceChildren(element("span", "seed"), ...buttons);
}

function zoomTo(zoom) {
  show({ zoom: clamp(Math.round(zoom * 4) / 4, 1, 8) });
}

function drag(event) {
  if (view.zoom === 1 || event.target.id === "cut" || event.button) return;
  const from = { x: event.clientX - offset.x, y: event.clientY - offset.y };
  const stage = $("stage");
  stage.setPointerCapture(event.pointerId);
  const move = (moved) => {
    Object.assign(offset, { x: moved.clientX - from.x, y: moved.clientY - from.y });
    place();
  };
  stage.addEventListener("pointermove", move);
  stage.addEventListener("pointerup", () => stage.removeEventListener("pointermove", move), { once: true });
}

if (viewer) {
  const stage = $("stage");
  for (const button of viewer.querySelectorAll("button[data-mode]")) button.addEventListener("click", () => show({ mode: button.dataset.mode }));
  $("pin").addEventListener("change", (event) => show({ pin: columnOf(event.target.value) }));
  $("info-toggle").addEventListener("click", () => show({ info: !view.info }));
  $("close").addEventListener("click", () => show({ open: false }));
  $("zoom").addEventListener("input", (event) => zoomTo(Number(event.target.value)));
  $("cut").addEventListener("input", (event) => stage.style.setProperty("--cut", `${event.target.value}%`));
  $("cut").addEventListener("pointerup", (event) => event.target.blur()); // so that the arrows move cells again
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomTo(view.zoom * (event.deltaY < 0 ? 1.25 : 0.8));
  }, { passive: false });
  stage.addEventListener("pointerdown", drag);
  // A button that was clicked gives the focus back, so that Space is the flicker and not the button again.
  viewer.addEventListener("click", (event) => { if (event.detail && event.target.closest("button")) stage.focus(); });
  viewer.addEventListener("cancel", (event) => { event.preventDefault(); show({ open: false }); });
  watchers.push(drawViewer);
}
