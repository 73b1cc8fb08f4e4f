// The page of a coder: what is to be coded comes in by one of three ways, and goes through one worklist.

import * as api from "./api.js";
import { at, complain, element } from "./dom.js";
import { download, fileOf } from "./export.js";
import * as list from "./list.js";
import * as note from "./note.js";
import * as store from "./rows.js";
import { apply, setLanguage, t } from "./texts.js";
import * as work from "./work.js";

const DEMONSTRATION = "mini";

async function begin() {
  try {
    const info = await api.info();
    at("key-form").hidden = true;
    at("bundle").textContent = `${info.bundle.name} · ${info.bundle.edition}`;
    at("warning").hidden = info.bundle.name !== DEMONSTRATION;
    at("kind").replaceChildren(at("kind").firstElementChild, ...Object.keys(info.kinds).map((kind) => element("option", { value: kind, "data-t": kind }, t(kind))));
  } catch (error) {
    work.failed(error);
  }
}

function chooseTab(tab) {
  for (const one of document.querySelectorAll("[role=tab]")) {
    const chosen = one === tab;
    one.setAttribute("aria-selected", String(chosen));
    one.tabIndex = chosen ? 0 : -1;
    at(one.getAttribute("aria-controls")).hidden = !chosen;
  }
}

function tabs() {
  const all = [...document.querySelectorAll("[role=tab]")];
  all.forEach((tab, place) => {
    tab.addEventListener("click", () => chooseTab(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const next = all[(place + step + all.length) % all.length];
      chooseTab(next);
      next.focus();
    });
  });
}

function submitting(id, act) {
  at(id).addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!work.busy()) await act();
  });
}

async function readTable(content, name) {
  if (work.busy()) return;
  const [row] = await work.linkTable(content, name);
  if (store.rows.includes(row)) list.choose(row, false);
}

function tables() {
  const drop = at("drop");
  at("file").addEventListener("change", () => {
    const [file] = at("file").files;
    if (file) readTable(file, file.name);
    at("file").value = ""; // so that the same file can be chosen again
  });
  // A file that is let go beside the field would otherwise be opened in place of this page, and of the work on it.
  for (const name of ["dragover", "drop"]) {
    window.addEventListener(name, (event) => event.dataTransfer.types.includes("Files") && event.preventDefault());
  }
  for (const name of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      const [file] = name === "drop" ? event.dataTransfer.files : [];
      if (file) readTable(file, file.name);
    });
  }
  const pasted = () => readTable(new Blob([at("paste").value]), "paste.tsv");
  at("paste-read").addEventListener("click", pasted);
  submitting("pane-table", pasted);
}

function exporting() {
  for (const button of document.querySelectorAll("[data-export]")) {
    button.addEventListener("click", async () => {
      const rows = at("reviewed-only").checked ? store.rows.filter((row) => row.review) : store.rows;
      try {
        if (rows.length) download(...(await fileOf(rows, button.dataset.export)));
        else complain(t("nothing"));
      } catch (error) {
        work.failed(error);
      }
    });
  }
}

function forms() {
  submitting("pane-mention", async () => {
    const entry = { text: at("mention").value, sentence: at("sentence").value, kind: at("kind").value };
    const [row] = await work.linkMention(entry);
    if (store.rows.includes(row)) list.open(row);
  });
  submitting("pane-note", async () => {
    if (!note.texts().length) return;
    const [row] = await work.linkNote(at("note").value, note.spans(), note.texts());
    if (row.link && store.rows.includes(row)) list.open(row);
  });
  submitting("key-form", async () => {
    api.setKey(at("key").value);
    at("key").value = "";
    await begin();
    if (at("key-form").hidden) document.querySelector("[role=tab][aria-selected=true]").focus();
  });
}

at("warning").dataset.t = "demo";
for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    setLanguage(button.dataset.language);
    list.redraw();
    work.refresh();
  });
}
apply();
tabs();
forms();
tables();
exporting();
note.start();
work.start();
list.start();
begin();
