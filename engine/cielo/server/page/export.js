// The worklist as a file. CSV and JSON are made here; a workbook by the server, which keeps nothing of it.

import { writeTable } from "./api.js";

const FORMULA = /^[=+\-@\t\r]/;
const MANGLED = /^(0\d+|\d+E\d+|\d{16,})$/i; // Excel would drop the zeros of a code 0210093, and take 4E10 for a power
const NUMBER = /^[+-]?[0-9]+([.,][0-9]+)?$/;

const COLUMNS = [
  ["mention", (row) => row.text],
  ["sentence", (row) => row.sentence],
  ["code", (row) => row.link?.code],
  ["title", (row) => row.link?.title],
  ["kind", (row) => row.link?.kind],
  ["method", (row) => row.link?.method],
  ["confidence", (row, decimal) => row.link?.confidence?.toFixed(3).replace(".", decimal)],
  ["error", (row) => row.error],
  ["decision", (row) => row.review?.decision],
  ["final_code", (row) => row.review?.code],
  ["final_title", (row) => row.review?.title],
];

// The columns that a row came with first, then ours; one of theirs that bears a name of ours is `input_…`.
export function table(rows, decimal = ".") {
  const own = COLUMNS.map(([name]) => name);
  const given = [...new Set(rows.flatMap((row) => Object.keys(row.values || {})))];
  const columns = rows.some((row) => row.values) ? COLUMNS.slice(2) : COLUMNS;
  const header = [...given.map((name) => (own.includes(name) ? `input_${name}` : name)), ...columns.map(([name]) => name)];
  const body = rows.map((row) => [
    ...given.map((name) => row.values?.[name] ?? ""),
    ...columns.map(([, value]) => value(row, decimal) ?? ""),
  ]);
  return [header, ...body];
}

// RFC 4180; what a spreadsheet would take for a formula gets an apostrophe. For Excel, what it would take for another
// number is given as the formula ="…", which is the only text that it leaves alone in a CSV.
export function csv(rows, { delimiter = ",", decimal = ".", excel = false } = {}) {
  const guarded = (text) => (FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text);
  const cell = (value) => {
    const text = String(value);
    const safe = excel && MANGLED.test(text) ? `="${text}"` : guarded(text);
    return /["\r\n]/.test(safe) || safe.includes(delimiter) || safe !== safe.trim() ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const lines = table(rows, decimal).map((line) => line.map(cell).join(delimiter));
  return `${excel ? "\ufeff" : ""}${lines.join("\r\n")}\r\n`;
}

export function json(rows) {
  const plain = rows.map(({ text, sentence, values, link, error, review }) => ({ text, sentence, values, link, error, review }));
  return `${JSON.stringify(plain, null, 1)}\n`;
}

function written(rows) {
  return rows.map((row) => ({
    values: row.values || { text: row.text, sentence: row.sentence || null },
    link: row.link,
    error: row.link ? null : row.error || "-",
    review: { decision: row.review?.decision || "", code: row.review?.code ?? null, title: row.review?.title ?? null },
  }));
}

export async function fileOf(rows, format) {
  if (format === "xlsx") return [await writeTable(written(rows), "xlsx"), "xlsx"];
  if (format === "json") return [new Blob([json(rows)], { type: "application/json" }), "json"];
  const style = format === "excel" ? { delimiter: ";", decimal: ",", excel: true } : {};
  return [new Blob([csv(rows, style)], { type: "text/csv;charset=utf-8" }), "csv"];
}

export function download(blob, ending) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `cielo.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
