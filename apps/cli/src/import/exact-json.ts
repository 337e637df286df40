/** What the engine has and the type library does not know yet. */
interface ExactJson {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): object;
  isRawJSON(value: unknown): value is { readonly rawJSON: string };
}

const exact = JSON as unknown as ExactJson;
/**
 * Numbers that a double may not give back as they were written. What stands inside a string costs only time.
 */
const MAY_LOSE = /\d{16}|\d[.eE]|-0/;

/**
 * JSON whose numbers keep their text: 9007199254740993 is not …992, 1e400 is not null, 1.10 is not 1.1. Such
 * a number is an object that `JSON.stringify` writes as it was read; see `numberText`.
 *
 * @throws SyntaxError
 */
export function parseExactJson(text: string): unknown {
  if (!MAY_LOSE.test(text)) return JSON.parse(text) as unknown;
  return exact.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined ? exact.rawJSON(source) : value,
  );
}

/** The digits of a number that `parseExactJson` read; undefined for anything else. */
export function numberText(value: unknown): string | undefined {
  if (typeof value === 'number') return String(value);
  return exact.isRawJSON(value) ? value.rawJSON : undefined;
}
