// A note in which mentions are marked: with the mouse or the keyboard, as a text field lets one select.

import { at, complain, element, say } from "./dom.js";
import { toCharacters, trimmed } from "./offsets.js";
import { t } from "./texts.js";

let marks = [];

export function spans() {
  const text = at("note").value;
  return marks.map(([start, end]) => ({ start: toCharacters(text, start), end: toCharacters(text, end) }));
}

export const texts = () => marks.map(([start, end]) => at("note").value.slice(start, end));

function draw() {
  const text = at("note").value;
  const parts = [];
  let done = 0;
  for (const [start, end] of marks) {
    if (start < done) continue; // inside of another one: its own chip shows it
    parts.push(text.slice(done, start), element("mark", {}, text.slice(start, end)));
    done = end;
  }
  at("note-view").replaceChildren(...parts.filter(Boolean), text.slice(done));
  at("note-view").hidden = !marks.length;
  at("note-code").disabled = !marks.length;
  at("marks").replaceChildren(...marks.map((one) => {
    const words = text.slice(...one);
    const remove = () => {
      marks = marks.filter((other) => other !== one);
      draw();
      at("note").focus();
    };
    return element("li", {}, element("button", { type: "button", onclick: remove, "aria-label": t("unmark", { text: words }) }, `${words} ✕`));
  }));
}

function mark() {
  const note = at("note");
  const found = trimmed(note.value, note.selectionStart, note.selectionEnd);
  if (!found) return complain(t("markEmpty"));
  if (!marks.some(([start, end]) => start === found[0] && end === found[1])) marks.push(found);
  marks.sort((one, other) => one[0] - other[0] || other[1] - one[1]);
  draw();
  say(t("marked", { text: note.value.slice(...found) }));
  note.focus();
}

function changed() {
  if (!marks.length) return;
  marks = [];
  draw();
  say(t("marksGone"));
}

export function start() {
  at("mark").addEventListener("click", mark);
  at("note").addEventListener("input", changed);
  at("note").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    mark();
  });
}
