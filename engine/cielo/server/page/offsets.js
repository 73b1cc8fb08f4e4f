// The server counts Unicode characters, JavaScript UTF-16 units: an emoji is one of those and two of these.

export function toCharacters(text, unit) {
  let characters = 0;
  for (let at = 0; at < unit; characters += 1) at += text.codePointAt(at) > 0xffff ? 2 : 1;
  return characters;
}

// A selection without the white space at its ends; null where nothing is left.
export function trimmed(text, start, end) {
  const inside = text.slice(start, end);
  const before = inside.length - inside.trimStart().length;
  const found = [start + before, start + inside.trimEnd().length];
  return found[0] < found[1] ? found : null;
}
