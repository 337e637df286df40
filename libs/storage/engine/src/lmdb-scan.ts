import { childNode, coversNode, isPointer, nodeSpan, rowKey, type KeyNode, ROOT_NODE } from './lmdb-keys.js';
import { asBuffer, plainValue, rowsOf, type LmdbStore, type LmdbView } from './lmdb-store.js';
import type { EngineRow } from './types.js';

/** Where rows are read from. */
export interface ScanSource {
  readonly store: LmdbStore;
  readonly view: LmdbView;
}

/** A span of keys and the way through it. */
export interface ScanSpan {
  readonly start: Buffer;
  readonly end: Buffer;
  readonly reverse: boolean;
}

/**
 * The rows of a span as of the source's view. Must be drained or ended by `return` before the view is done.
 */
export function* scanRows(
  source: ScanSource,
  span: ScanSpan,
  node: KeyNode = ROOT_NODE,
): Generator<EngineRow, void> {
  const { start, end } = nodeSpan(node, span.start, span.end);
  if (start.compare(end) >= 0) return;
  const bounds = span.reverse
    ? { start: end, exclusiveStart: true, end: start, inclusiveEnd: true, reverse: true }
    : { start, end };
  const rows = rowsOf(source.store, { ...bounds, transaction: source.view });
  const prefixBytes = node.physical.length;
  try {
    for (let row = rows.next(); row.done !== true; row = rows.next()) {
      const rest = asBuffer(row.value.key).subarray(prefixBytes);
      if (isPointer(rest)) yield* scanRows(source, span, childNode(node, rest.subarray(0, -1)));
      else
        yield [node === ROOT_NODE ? rest : Buffer.concat([node.logical, rest]), plainValue(row.value.value)];
    }
  } finally {
    rows.return?.();
  }
}

/** Keys in the file of all rows of a span, and of pointers that lead to nothing else. Ended as above. */
export function* scanStoredKeys(
  source: ScanSource,
  span: Omit<ScanSpan, 'reverse'>,
  node: KeyNode = ROOT_NODE,
): Generator<Buffer, void> {
  const { start, end } = nodeSpan(node, span.start, span.end);
  if (start.compare(end) >= 0) return;
  const keys = source.store.getKeys({ start, end, transaction: source.view })[Symbol.iterator]();
  try {
    for (let entry = keys.next(); entry.done !== true; entry = keys.next()) {
      const key = asBuffer(entry.value);
      const rest = key.subarray(node.physical.length);
      if (!isPointer(rest)) {
        yield key;
        continue;
      }
      const child = childNode(node, rest.subarray(0, -1));
      yield* scanStoredKeys(source, span, child);
      if (coversNode(child, span.start, span.end)) yield key;
    }
  } finally {
    keys.return?.();
  }
}

/** Rows that one step of an estimate counts, and how many of them it looks at for their size. */
const STEP_ROWS = 20_000;
const SAMPLE_ROWS = 16;
/** What a row takes beside its key and value: its header and its slot in the page. */
const ROW_OVERHEAD_BYTES = 10;

/**
 * Rough bytes of a span: rows are counted, a few of each twenty thousand are measured. Long keys count
 * only as far as their pointers. Each step reads on the calling thread for about a millisecond; between
 * them others have their turn.
 */
export async function estimateBytes(source: ScanSource, start: Buffer, end: Buffer): Promise<number> {
  const { store, view: transaction } = source;
  const span = nodeSpan(ROOT_NODE, start, end);
  let from: Buffer | undefined = span.start;
  let total = 0;
  while (from !== undefined && from.compare(span.end) < 0) {
    const here: { start: Buffer; end: Buffer; transaction: LmdbView } = {
      start: from,
      end: span.end,
      transaction,
    };
    const [next]: Uint8Array[] = [...store.getKeys({ ...here, offset: STEP_ROWS, limit: 1 })];
    const count: number = next === undefined ? store.getKeysCount({ ...here }) : STEP_ROWS;
    let sampled = 0;
    let sampledBytes = 0;
    for (const { key, value } of store.getRange({ ...here, limit: SAMPLE_ROWS })) {
      sampled += 1;
      sampledBytes += asBuffer(key).length + value.length + ROW_OVERHEAD_BYTES;
    }
    if (sampled > 0) total += Math.round((sampledBytes / sampled) * count);
    from = next === undefined ? undefined : asBuffer(next);
    if (from !== undefined) await store.prefetch([from]); // Off this thread: others run meanwhile.
  }
  return total;
}

/** Value of a key, from the latest state. */
export function readValue(store: LmdbStore, key: Uint8Array): Buffer | undefined {
  const value = store.getBinary(rowKey(key));
  return value === undefined ? undefined : plainValue(value);
}
