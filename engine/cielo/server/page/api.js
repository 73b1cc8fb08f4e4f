// The server's addresses. What it asks to be waited for is waited for, as long as it says; nothing else is asked twice.

const MOST_TRIES = 8;
const LONGEST_WAIT = 30; // seconds, where nobody can cancel

export class Problem extends Error {
  constructor(message, code, results = null) {
    super(message);
    this.code = code;
    this.results = results;
  }
}

export function key() {
  return sessionStorage.getItem("key") || "";
}

export function setKey(value) {
  sessionStorage.setItem("key", value);
}

async function ask(path, options, tell = () => {}) {
  for (let tries = 1; ; tries += 1) {
    const headers = { ...options.headers, ...(key() ? { Authorization: `Bearer ${key()}` } : {}) };
    let answer;
    try {
      answer = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem("", "offline");
    }
    if (answer.ok) return answer;
    const wait = Number(answer.headers.get("Retry-After"));
    const patient = options.signal || (tries < MOST_TRIES && wait <= LONGEST_WAIT);
    if (!wait || !patient) throw await problemOf(answer);
    tell(wait);
    await pause(wait, options.signal);
  }
}

async function problemOf(answer) {
  try {
    const { error, results: rows } = await answer.json();
    return new Problem(error.message, error.code, rows);
  } catch {
    return new Problem(`${answer.status}`, "failed");
  }
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("", "AbortError"));
    });
  });
}

function post(path, body, { type = "application/json", signal, tell } = {}) {
  const content = type === "application/json" ? JSON.stringify(body) : body;
  return ask(path, { method: "POST", headers: { "Content-Type": type }, body: content, signal }, tell);
}

// Where no mention has a link the server answers with an error that holds the results too: each row gets its own.
async function results(path, body, options) {
  try {
    return (await (await post(path, body, options)).json()).results;
  } catch (error) {
    if (!error.results?.length) throw error;
    return error.results;
  }
}

const OPTIONS = { neighbours: "always" };

export const link = (mentions, options) => results("/v1/link", { mentions, options: OPTIONS }, options);
export const linkDocument = (text, spans, options) => results("/v1/documents", { text, spans, options: OPTIONS }, options);
export const info = async () => (await ask("/v1/info", {})).json();
export const concept = async (code, kind) => (await ask(`/v1/concepts/${encodeURIComponent(code)}${kind ? `?kind=${encodeURIComponent(kind)}` : ""}`, {})).json();
export const search = async (query) => (await ask(`/v1/concepts?limit=20&query=${encodeURIComponent(query)}`, {})).json();
export const readTable = async (content, name, options) => (await post(`/v1/tables/read?name=table.${name.split(".").pop()}`, content, { type: "application/octet-stream", ...options })).json();
export const writeTable = async (rows, format) => (await post(`/v1/tables/write?format=${format}`, { rows })).blob();
