/** A sentence that quotes what somebody sent is cut behind this. */
const SENTENCE_CHARS_MAX = 1_000;
const UNPRINTABLE = /[\p{Cc}\p{Cs}]/gu;

/**
 * A sentence that may quote what somebody sent, fit for headers, logs and terminals: control characters and
 * halves of characters are escaped, and it ends after `charsMax` characters, with how many there were.
 */
export function printable(text: string, charsMax = SENTENCE_CHARS_MAX): string {
  const cut = text.length > charsMax ? `${text.slice(0, charsMax)}… (${text.length} characters)` : text;
  return cut.replace(UNPRINTABLE, escaped);
}

/** The same of a text of many lines, whole. */
export function printableLines(text: string): string {
  return text.replace(UNPRINTABLE, (character) => (character === '\n' ? character : escaped(character)));
}

function escaped(character: string): string {
  return `\\u{${(character.codePointAt(0) as number).toString(16)}}`;
}
