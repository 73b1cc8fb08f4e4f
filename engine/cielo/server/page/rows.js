// The rows of the worklist, and what the coder decided. They live in this page's memory alone.

import { reason } from "./texts.js";

export const rows = [];
const past = [];
let listener = () => {};

export function listen(callback) {
  listener = callback;
}

export function add(entries) {
  const fresh = entries.map((entry) => ({ values: null, link: null, error: null, review: null, ...entry }));
  rows.push(...fresh);
  listener();
  return fresh;
}

export function settle(row, result) {
  row.link = result.link;
  row.error = result.error ? reason(result.error) : null;
  listener(row);
}

// Those without an answer that are to get one: their work was cancelled, or broke off.
export const pending = () => rows.filter((row) => row.ask && !row.link && !row.error);

// Rows that were decided on stay: `undo` comes back to them.
export function drop(gone) {
  const set = new Set(gone.filter((row) => !row.review));
  rows.splice(0, rows.length, ...rows.filter((row) => !set.has(row)));
  listener();
}

export function review(row, decision, code = null, title = null) {
  past.push([row, row.review]);
  row.review = { decision, code, title };
  listener(row);
}

export const canUndo = () => past.length > 0;

export function undo() {
  const [row, before] = past.pop();
  row.review = before;
  listener(row);
  return row;
}

export function clear() {
  rows.length = past.length = 0;
  listener();
}

// How sure an answer is, as a word of `texts.js`.
export function level(link) {
  if (!link || link.confidence === null) return "unknown";
  if (link.confidence >= 0.9) return "high";
  return link.confidence >= 0.5 ? "middle" : "low";
}

// Whether the code that counts is the model's, so that its confidence says something of it.
export const isProposed = (row) => !row.review || final(row).code === row.link?.code;

export function final(row) {
  if (row.review) return { code: row.review.code, title: row.review.title };
  return { code: row.link ? row.link.code : null, title: row.link ? row.link.title : null };
}
