import type { TreeFile } from './tree.js';

/**
 * What runs in the processes of a cluster. The engines of others and the client have no assertions to lose.
 */
const IN_PROCESSES =
  /^(libs\/[a-z]+\/(router-node|metadata|shard-node|store|routing|wire|raft-log|lsm)|apps\/(router|shard|metadata))\/src\//;
const NOT_SERVING = /\.(spec|testing|bench)\.ts$|\/testing\/|\/src\/testing\.ts$/;

/** `catch (error) {`, `.catch(`, and the second half of a `then`. */
const HANDLER =
  /\bcatch(?: \(\w+\))? (\{)|\.catch(\()|\((?:error|cause|reason): unknown\)(?:: \w+)? => (\{)/g;

/** Asks it, or is asked by what makes an answer of an error. */
const ASKS = /\brethrowInvariant\b|\b(errorDetailOf|toServiceError|asCairnError|failRead|asEngineError)\(/;
const ASKS_OR_DECODES = /\b(asLogFailure|notDecoded)\(/;
/** Ends the process, or hands the error to somebody who waits. */
const PASSES_ON = /\bfatal\(|\.fatal\b|#fatal\b|\bonFatal\b|\breject\b|^\s*(fail|give)\s*$/;
/** Goes on after errors of one kind only. */
const ONE_KIND = /\bif \(!.*\)\s+(?:\{[^}]*)?throw error;/;
const THROWS_AT_LAST = /\bthrow\b[^;]*;\s*$/;

/** The text between the bracket at the place and its partner. */
function inside(text: string, at: number): string {
  const open = text[at];
  const close = open === '{' ? '}' : ')';
  let depth = 0;
  for (let end = at; end < text.length; end += 1) {
    if (text[end] === open) depth += 1;
    else if (text[end] === close) depth -= 1;
    if (depth === 0) return text.slice(at + 1, end);
  }
  return text.slice(at + 1);
}

/**
 * Handlers of errors of any kind that would go on after an assertion that failed. Brackets in strings are not
 * understood; a handler that has them unpaired is to be written otherwise.
 */
export function swallowedAssertions(file: TreeFile): string[] {
  if (!IN_PROCESSES.test(file.path) || NOT_SERVING.test(file.path)) return [];
  const found: string[] = [];
  for (const match of file.text.matchAll(HANDLER)) {
    const body = inside(file.text, match.index + match[0].length - 1);
    const isFine = [ASKS, ASKS_OR_DECODES, PASSES_ON, ONE_KIND, THROWS_AT_LAST].some((rule) =>
      rule.test(body),
    );
    if (isFine) continue;
    const line = file.text.slice(0, match.index).split('\n').length;
    found.push(`${file.path}:${line}: goes on after an assertion that failed: ask rethrowInvariant first`);
  }
  return found;
}
