"use strict";
// Keeps what is typed into the boxes in this browser, and saves the page with it as a file to hand in.

const boxes = document.querySelectorAll(".answer");
const place = box => `fastff ${location.pathname} ${box.id}`;

// What a box holds, without the line end that browsers need at its end to show the cursor.
const typed = box => box.innerText.replace(/\n$/, "");

function recall(box) {
  try { return JSON.parse(localStorage.getItem(place(box))); } catch { return null; }
}

function keep(box, draft) {
  try {
    localStorage.setItem(place(box), JSON.stringify({ draft, text: typed(box) }));
    note.textContent = "What you type is kept in this browser; save the page to hand it in.";
  } catch {
    note.textContent = "This browser keeps nothing that you type: save the page before you close it.";
  }
}

function save() {
  const copy = document.documentElement.cloneNode(true);
  copy.querySelector(".tools").remove();
  copy.querySelectorAll(".answer").forEach((box, i) => { box.textContent = typed(boxes[i]); });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["<!DOCTYPE html>\n" + copy.outerHTML], { type: "text/html" }));
  link.download = "report.html";
  link.click();
  URL.revokeObjectURL(link.href);
}

const tools = document.createElement("div");
tools.className = "tools";
const button = document.createElement("button");
button.type = "button";
button.textContent = "Save with my text";
button.addEventListener("click", save);
const note = document.createElement("span");
note.textContent = "The framed boxes are yours to type into.";
tools.append(button, note);
document.body.prepend(tools);

for (const box of boxes) {
  try { box.contentEditable = "plaintext-only"; } catch { /* an old browser: as it is */ }
  const draft = box.textContent;
  const kept = recall(box);
  // A report that was written anew, with another draft, is not overwritten by what was typed into the old one.
  if (kept !== null && kept.draft === draft) box.textContent = kept.text;
  box.addEventListener("input", () => keep(box, draft));
}
