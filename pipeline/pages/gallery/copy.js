"use strict";
// A button to copy each block that is meant to be pasted somewhere. Made here, so that no button is dead without script.
function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = Object.assign(document.createElement("textarea"), { value: text });
  document.body.append(area); // browsers that keep the clipboard from pages on disk still know this way
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done ? Promise.resolve() : Promise.reject(new Error("not copied"));
}

for (const block of document.querySelectorAll("pre.copyable")) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Copy" });
  button.addEventListener("click", () => {
    copyText(block.querySelector("code").textContent).then(
      () => { button.textContent = "Copied"; },
      () => { button.textContent = "Select it"; },
    );
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  block.append(button);
}
start();
