import type { LogView } from '../log.js';
import { coreOf, type RaftNode } from '../raft-node.js';
import type { Entry } from '../types.js';

/**
 * The outside, what is the same for all, what the host took with the last Ready, and other views of
 * `progress`.
 */
const LEFT_OUT = new Set([
  ...['config', 'storage', 'contact', 'random', 'log', 'sequence', 'pendingPersists'],
  ...['peers', 'voters', 'outgoing', 'self'],
]);

/**
 * Everything that decides what a node does next, as text: two nodes with one fingerprint and equal storage
 * behave alike. Fields that the core gets later are in it by themselves. Not in it: which appends are
 * unacknowledged, so windows must be wider than what is sent.
 */
export function fingerprintOf(node: RaftNode): string {
  const core = coreOf(node);
  // In which order Readies were taken counts, not how many there were.
  const persists = core.pendingPersists.map(({ term, vote, lastIndex }) => `${term}:${vote}:${lastIndex}`);
  return `${textOf(core)}|${persists.join()}|${logText(core.log)}`;
}

function logText(log: LogView): string {
  const { lastIndex, durableIndex, stagedIndex } = log;
  const parts = [`${lastIndex}/${durableIndex}/${stagedIndex}`];
  // Piece by piece: where storage ends and memory begins decides how many entries go into one message.
  for (let from = log.firstIndex(); from <= lastIndex;) {
    const piece = log.entries(from, lastIndex + 1, Infinity);
    if (typeof piece === 'string') return [...parts, piece].join('|');
    parts.push(piece.map(entryText).join());
    from += piece.length;
  }
  return parts.join('|');
}

/** An entry, whoever holds it. */
export function entryText({ index, term, kind, payload }: Entry): string {
  return `${index}.${term}.${kind}.${payload.join('-')}`;
}

function textOf(value: unknown): string {
  if (value instanceof Map) return `{${[...value].map((pair) => textOf(pair)).join()}}`;
  if (value instanceof Set || Array.isArray(value)) return `[${[...value].map(textOf).join()}]`;
  if (typeof value !== 'object' || value === null) return String(value);
  if (value instanceof Uint8Array) return value.join('-');
  const parts: string[] = [];
  for (const [name, inner] of Object.entries(value)) if (!LEFT_OUT.has(name)) parts.push(textOf(inner));
  return `(${parts.join()})`;
}
