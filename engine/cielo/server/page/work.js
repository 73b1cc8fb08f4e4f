// Work that takes a while: chunk by chunk, with progress, and to be cancelled.

import * as api from "./api.js";
import { at, complain, say } from "./dom.js";
import * as store from "./rows.js";
import { t } from "./texts.js";

const CHUNK = 32;
let stop = null;

function progress(done, all) {
  at("progress").max = all;
  at("progress").value = done;
  at("progress-text").textContent = t("progressText", { done, all });
}

export function failed(error) {
  complain(t("failure", { message: error.code === "offline" ? t("offline") : error.message }));
  if (error.code === "unauthorized") {
    at("key-form").hidden = false;
    at("key").focus();
  }
}

// Links rows of the worklist; `ask` gets some of them, and returns a result for each. Rows without an answer go.
async function run(rows, ask) {
  stop = new AbortController();
  at("work").hidden = false;
  let done = 0;
  try {
    for (let from = 0; from < rows.length; from += CHUNK) {
      progress(done, rows.length);
      const part = rows.slice(from, from + CHUNK);
      const results = await ask(part, { signal: stop.signal, tell: (seconds) => say(t("waiting", { seconds })) });
      part.forEach((row, place) => store.settle(row, results[place]));
      done += part.length;
    }
    const errors = rows.filter((row) => row.error).length;
    say(t(errors ? "doneErrors" : "done", { done: done - errors, errors }));
  } catch (error) {
    store.drop(rows.filter((row) => !row.link && !row.error));
    if (error.name === "AbortError") say(t("cancelled", { done, all: rows.length }));
    else failed(error);
  } finally {
    at("work").hidden = true;
    stop = null;
  }
}

const mention = ({ text, sentence, kind }) => ({ text, sentence: sentence || null, kind: kind || null });

export const busy = () => stop !== null;

export async function linkRows(entries) {
  const rows = store.add(entries);
  const wrong = rows.filter((row) => row.error);
  const good = rows.filter((row) => !row.error);
  wrong.forEach((row) => store.settle(row, { link: null, error: { message: row.error } }));
  if (good.length) await run(good, (part, options) => api.link(part.map(mention), options));
  else say(t("doneErrors", { done: 0, errors: wrong.length }));
  return rows;
}

export async function linkNote(text, spans, words) {
  const rows = store.add(words.map((word) => ({ text: word, sentence: null, kind: null })));
  let from = 0;
  await run(rows, async (part, options) => {
    const results = await api.linkDocument(text, spans.slice(from, from + part.length), options);
    from += part.length;
    const characters = [...text];
    part.forEach((row, place) => {
      const { sentence } = results[place];
      if (sentence) row.sentence = characters.slice(...sentence).join("");
    });
    return results;
  });
  return rows;
}

export function start() {
  at("cancel").addEventListener("click", () => stop?.abort());
}
