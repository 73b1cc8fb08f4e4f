// The worklist: a row for each mention, the keys to go through it, and how many are open.

import { accept, reject, show, sureness } from "./detail.js";
import { at, complain, element } from "./dom.js";
import * as store from "./rows.js";
import { t } from "./texts.js";
import * as work from "./work.js";

const narrow = window.matchMedia("(max-width: 52rem)"); // as page.css: there the detail lies over the list
let current = null;
const shown = new Map();

function cells(row) {
  const code = store.final(row).code;
  const title = store.final(row).title || row.link?.description || "";
  const answer = row.link || row.error ? code || t(row.error ? "failed" : "noCode") : t("notYet");
  const sure = row.link && store.isProposed(row) ? sureness(row.link) : "";
  const decision = t(row.review ? row.review.decision : row.link || row.error ? "open" : "");
  const label = [row.text || "–", code ? `${code} ${title}` : answer, sure && `${t("confidence")} ${sure.textContent}`, decision];
  const pick = element("button", { type: "button", class: "pick", "aria-label": label.filter(Boolean).join(", ") }, row.text || "–");
  return [
    element("td", {}, pick),
    element("td", {}, element("span", { class: code ? "codeword" : "" }, answer), code ? ` ${title}` : ""),
    element("td", {}, sure),
    element("td", {}, decision),
  ];
}

function draw(row) {
  const line = shown.get(row);
  const focused = line.contains(document.activeElement);
  line.replaceChildren(...cells(row));
  if (focused) line.querySelector(".pick").focus();
}

function counts() {
  const reviewed = store.rows.filter((row) => row.review).length;
  at("counts").textContent = store.rows.length ? t("counts", { open: store.rows.length - reviewed, reviewed }) : "";
  at("undo").disabled = !store.canUndo();
  for (const node of [document.querySelector(".rows"), at("export")]) node.hidden = !store.rows.length;
  at("list-empty").hidden = store.rows.length > 0;
}

export function redraw() {
  shown.clear();
  for (const row of store.rows) {
    const line = element("tr", { onclick: () => open(row) });
    shown.set(row, line);
    line.replaceChildren(...cells(row));
  }
  at("rows").replaceChildren(...shown.values());
  if (!store.rows.includes(current)) current = null;
  mark();
  counts();
  show(current, back);
}

function changed(row) {
  if (!row) return redraw();
  if (!shown.has(row)) return; // the list was emptied meanwhile
  draw(row);
  counts();
  if (row === current) show(row, back);
}

function mark() {
  for (const [row, line] of shown) {
    if (row === current) line.setAttribute("aria-current", "true");
    else line.removeAttribute("aria-current");
  }
}

function back() {
  shown.get(current)?.querySelector(".pick").focus();
}

export function choose(row, focus = true) {
  current = row;
  mark();
  show(row, back);
  if (focus) shown.get(row)?.querySelector(".pick").focus();
}

// To look at a row: on a phone its detail comes into view, elsewhere the keys of the list are at hand.
export function open(row) {
  choose(row, !narrow.matches);
  if (!narrow.matches) return;
  at("detail").focus({ preventScroll: true });
  at("detail").scrollIntoView({ block: "start" });
}

function move(step) {
  const place = store.rows.indexOf(current) + step;
  if (place >= 0 && place < store.rows.length) choose(store.rows[place]);
}

// After a decision the next open row, so that a list can be gone through with one key.
function onward(decide) {
  const row = current;
  if (!decide(row)) return complain(t("nothingToAccept"));
  const next = store.rows.slice(store.rows.indexOf(row) + 1).find((one) => !one.review);
  choose(next || row);
}

const KEYS = {
  ArrowDown: () => move(1),
  ArrowUp: () => move(-1),
  a: () => onward(accept),
  r: () => onward(reject),
  c: () => at("search")?.focus(),
  u: () => store.canUndo() && choose(store.undo()),
};

function onKey(event) {
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act || !current || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input") || (event.key.startsWith("Arrow") && !at("rows").contains(event.target))) return;
  event.preventDefault();
  act();
}

export function start() {
  store.listen(changed);
  document.querySelector(".split").addEventListener("keydown", onKey);
  at("undo").addEventListener("click", () => choose(store.undo(), false));
  at("clear").addEventListener("click", () => {
    if (!window.confirm(t("clearAsk"))) return;
    work.cancel();
    store.clear();
    work.refresh();
    at("list").focus();
  });
  window.addEventListener("beforeunload", (event) => store.rows.some((row) => row.review) && event.preventDefault());
  counts();
}
