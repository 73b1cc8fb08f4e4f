// Work that takes a while: chunk by chunk, with progress; what was cancelled or broke off can be gone on with.

import * as api from "./api.js";
import { at, complain, say } from "./dom.js";
import * as store from "./rows.js";
import { reason, t } from "./texts.js";

const CHUNK = 32;
let stop = null;
let count = { done: 0, all: 0 };

export const busy = () => stop !== null;
export const cancel = () => stop?.abort();

const cancelling = () => ({ signal: stop.signal, tell: (seconds) => say(t("waiting", { seconds })) });

function progress(done, all) {
  count = { done, all };
  at("progress").max = all;
  at("progress").value = done;
  at("progress-text").textContent = t("progressText", count);
}

export function failed(error) {
  complain(t("failure", { message: reason(error) }));
  if (error.code === "unauthorized") {
    at("key-form").hidden = false;
    at("key").focus();
  }
}

export function refresh() {
  const left = store.pending().length;
  at("work").hidden = !busy();
  at("stopped").hidden = busy() || !left;
  at("resume").textContent = t("resume", { left });
}

// One piece of work at a time; `act` returns what is said at its end.
async function during(act) {
  stop = new AbortController();
  count = { done: 0, all: 0 };
  at("progress").removeAttribute("value");
  at("progress-text").textContent = "";
  say("");
  refresh();
  try {
    say(await act());
  } catch (error) {
    if (error.name === "AbortError") say(t("cancelled", count));
    else failed(error);
  } finally {
    const held = document.activeElement === at("cancel");
    stop = null;
    refresh();
    if (held) at(at("stopped").hidden ? "list" : "resume").focus();
  }
}

// Links rows, each by its own `ask`, which gets some of them and returns a result for each.
async function link(rows) {
  for (let done = 0; done < rows.length; ) {
    progress(done, rows.length);
    const { ask } = rows[done];
    const part = rows.slice(done, done + CHUNK).filter((row) => row.ask === ask);
    const results = await ask(part, cancelling());
    part.forEach((row, place) => store.settle(row, results[place]));
    done += part.length;
  }
}

function summary(rows) {
  const errors = rows.filter((row) => row.error).length;
  return t(errors ? "doneErrors" : "done", { done: rows.length - errors, errors });
}

const mention = ({ text, sentence, kind }) => ({ text, sentence: sentence || null, kind: kind || null });
const askMentions = (part, options) => api.link(part.map(mention), options);

export async function linkMention(entry) {
  const rows = store.add([{ ...entry, ask: askMentions }]);
  await during(async () => {
    await link(rows);
    return summary(rows);
  });
  store.drop(store.pending().filter((row) => row === rows[0])); // the form still holds it
  refresh();
  return rows;
}

export async function linkTable(content, name) {
  let rows = [];
  await during(async () => {
    const table = await api.readTable(content, name, cancelling());
    if (!table.rows.length) throw new api.Problem(t("noRows"), "page");
    rows = store.add(table.rows.map((row) => ({ ...row, ask: askMentions })));
    await link(rows.filter((row) => !row.error));
    return [summary(rows), ...table.warnings].join(" ");
  });
  return rows;
}

export async function linkNote(text, spans, words) {
  const characters = [...text];
  const places = new Map();
  const ask = async (part, options) => {
    const results = await api.linkDocument(text, part.map((row) => places.get(row)), options);
    part.forEach((row, place) => {
      const { sentence } = results[place];
      if (sentence) row.sentence = characters.slice(...sentence).join("");
    });
    return results;
  };
  const rows = store.add(words.map((word) => ({ text: word, sentence: null, kind: null, ask })));
  rows.forEach((row, place) => places.set(row, spans[place]));
  await during(async () => {
    await link(rows);
    return summary(rows);
  });
  return rows;
}

async function resume() {
  if (busy()) return;
  const rows = store.pending();
  await during(async () => {
    await link(rows);
    return summary(rows);
  });
}

function leave() {
  store.drop(store.pending());
  refresh();
  at("list").focus();
}

export function start() {
  at("cancel").addEventListener("click", cancel);
  at("resume").addEventListener("click", resume);
  at("leave").addEventListener("click", leave);
}
