// One row in full: where its code comes from, what else it could be, and the coder's decision.

import * as api from "./api.js";
import { at, complain, element, say } from "./dom.js";
import { final, isProposed, level, review } from "./rows.js";
import { number, reason, t } from "./texts.js";

const evidence = (one) =>
  [one.log_prob === null ? "" : t("logProb", { value: number(one.log_prob, 2) }), one.distance === null ? "" : t("distance", { value: number(one.distance, 3) })]
    .filter(Boolean)
    .join(", ");

export function sureness(link) {
  const value = link && link.confidence !== null ? ` ${number(link.confidence, 2)}` : "";
  return element("span", { class: `sure ${level(link)}` }, `${t(level(link))}${value}`);
}

function how(link) {
  if (link.method === "exact") return t(link.match === "normal" ? "exactNormal" : "exactLiteral");
  return t(link.method === "none" && link.confidence !== null ? "noneSure" : link.method);
}

function time({ mentions, ...stages }) {
  const value = number(1000 * Object.values(stages).reduce((sum, seconds) => sum + seconds, 0), 0);
  return t(mentions > 1 ? "seconds" : "alone", { value, mentions });
}

function facts(row) {
  const { link } = row;
  const pairs = [
    !isProposed(row) && link.code && [t("proposed"), `${link.code} ${link.title || link.description}`],
    [t(isProposed(row) ? "confidence" : "confidenceProposed"), sureness(link)],
    [t("how"), how(link)],
    link.generated && [t("generated"), `${link.generated} (${t("probability", { value: number(link.probability, 3) })})`],
    link.title && link.title !== link.description && [t("title"), link.title],
    link.codes.length > 1 && [t("also"), link.codes.slice(1).join(", ")],
    link.method !== "lexicon" && [t("proof"), t(link.proof?.exact ? "proven" : "unproven")],
    link.method === "semantic" && [t("near"), t("distance", { value: number(link.distance, 3) })],
    [t("timings"), time(link.timings)],
    [t("origin"), `${link.provenance.bundle.name}, ${link.provenance.bundle.edition}; ${link.provenance.decoding}, ${link.provenance.backend} ${link.provenance.compute_type}`],
  ];
  const shown = pairs.filter(Boolean).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
  return element("dl", {}, ...shown);
}

async function place(row, box) {
  const code = final(row).code;
  if (!code) return;
  try {
    const found = await api.concept(code, row.review?.decision === "changed" ? null : row.link.kind);
    if (at("detail").dataset.row !== box.dataset.row) return;
    const path = [...found.ancestors].reverse().concat([[found.code, found.title]]);
    box.replaceChildren(
      element("h3", {}, t("place")),
      element("ol", { class: "path" }, found.chapter ? element("li", {}, t("chapter", { value: found.chapter })) : null, ...path.map(([one, title]) => element("li", {}, element("b", {}, one), ` ${title}`))),
    );
    if (found.children.length) {
      const items = found.children.slice(0, 30).map(([one, title]) => choice(row, { code: one, title }, ""));
      box.append(element("details", {}, element("summary", {}, t("notLeaf")), element("ul", { class: "plain" }, ...items)));
    }
  } catch {
    // The place is an extra: without it the rest still holds.
  }
}

function choice(row, concept, more) {
  const use = element("button", { type: "button", onclick: () => change(row, concept), "aria-label": `${t("use")}: ${concept.code} ${concept.title || concept.description}` }, t("use"));
  const words = element("span", {}, element("b", { class: "codeword" }, concept.code), ` ${concept.title || concept.description} `, element("span", { class: "quiet" }, more));
  return element("li", {}, words, use);
}

function change(row, concept) {
  decide(row, row.link && concept.code === row.link.code ? "accepted" : "changed", concept.code, concept.title || concept.description);
}

function decide(row, decision, code, title) {
  review(row, decision, code, title);
  say(t("decided", { text: row.text || "–", decision: t(decision), code: code || "" }));
}

function searchBox(row) {
  const list = element("ul", { class: "plain" });
  const words = element("input", { id: "search", type: "search", autocomplete: "off" });
  const total = element("p", { class: "quiet", role: "status" });
  const go = async (event) => {
    event?.preventDefault();
    if (!words.value.trim()) return;
    try {
      const found = await api.search(words.value.trim());
      list.replaceChildren(...found.found.map((one) => choice(row, one, one.description === one.title ? "" : one.description)));
      total.textContent = found.found.length ? t("total", { shown: found.found.length, all: found.total }) : t("nothing");
      if (found.suggestions.length) total.textContent += ` ${t("maybe", { text: found.suggestions.join(", ") })}`;
    } catch (error) {
      complain(t("failure", { message: reason(error) }));
    }
  };
  return element("form", { onsubmit: go }, element("label", { for: "search" }, t("search")), element("div", { class: "line" }, words, element("button", {}, t("searchGo"))), total, list);
}

export function show(row, back) {
  const box = at("detail");
  box.hidden = !row;
  if (!row) return;
  const { link } = row;
  const chosen = final(row);
  const held = box.contains(document.activeElement);
  const token = String(Math.random());
  box.dataset.row = token;
  const hierarchy = element("div", { "data-row": token });
  const others = link ? link.candidates.filter((one) => one.code !== link.code) : [];
  box.replaceChildren(
    element("p", { class: "quiet" }, row.sentence && row.sentence !== row.text ? row.sentence : row.text),
    element("h3", { class: "title", id: "detail-title" }, chosen.code ? element("span", { class: "codeword" }, `${chosen.code} `) : null, chosen.title || (link ? link.description : null) || t(row.error ? "failed" : link ? "noCode" : "notYet")),
    row.review ? element("p", { class: "decided" }, `${t("decision")}: ${t(row.review.decision)}`) : "",
    row.error ? element("p", { class: "problem" }, row.error) : "",
    link && link.truncated ? element("p", { class: "note" }, t("truncated")) : "",
    element("div", { class: "actions", role: "group", "aria-label": t("your") },
      element("button", { type: "button", class: "main", disabled: !link?.code, onclick: () => accept(row), "aria-keyshortcuts": "a" }, t("accept")),
      element("button", { type: "button", onclick: () => at("search").focus(), "aria-keyshortcuts": "c" }, t("change")),
      element("button", { type: "button", onclick: () => reject(row), "aria-keyshortcuts": "r" }, t("reject")),
      element("button", { type: "button", onclick: back }, t("back"))),
    link ? facts(row) : "",
    hierarchy,
    others.length ? element("h3", {}, t("others")) : "",
    others.length ? element("ul", { class: "plain" }, ...others.map((one) => choice(row, one, evidence(one)))) : "",
    searchBox(row),
  );
  if (held) box.focus(); // what held the focus was drawn anew
  if (link) place(row, hierarchy);
}

// Both say whether there was anything to decide.
export function accept(row) {
  if (row.link?.code) decide(row, "accepted", row.link.code, row.link.title);
  return Boolean(row.link?.code);
}

export function reject(row) {
  decide(row, "rejected");
  return true;
}
