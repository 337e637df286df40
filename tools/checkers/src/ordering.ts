import type { History, Operation, SnapshotRead } from './history.js';

/** A write that was acknowledged with the timestamp it was committed at. */
interface StampedWrite {
  readonly key: string;
  /** undefined = a deletion. */
  readonly value: string | undefined;
  readonly timestamp: number;
  readonly isStrict: boolean;
  readonly invokedMs: number;
  readonly returnedMs: number;
}

/** What is known of the writes of one key. */
interface KeyWrites {
  /** In order of timestamp. */
  readonly stamped: StampedWrite[];
  /** What writes gave whose timestamps nobody told; `any` after an increment: its sum is unknown, too. */
  readonly uncertain: Set<string | undefined>;
  isAnyUncertain: boolean;
}

/** The value that a write left; `unchanged` when it was none. */
function written({ action }: Operation): { readonly value: string | undefined } | 'unchanged' {
  switch (action.f) {
    case 'read':
      return 'unchanged';
    case 'write':
      return { value: action.value };
    case 'cas':
      return { value: action.value };
    case 'add':
      return { value: action.result };
  }
}

function writesOf(operations: readonly Operation[]): KeyWrites {
  const writes: KeyWrites = { stamped: [], uncertain: new Set(), isAnyUncertain: false };
  for (const operation of operations) {
    const { action, key, timestamp, invokedMs, returnedMs, strict } = operation;
    const isKnown = returnedMs !== Number.POSITIVE_INFINITY;
    const effect = written(operation);
    if (effect === 'unchanged' || (action.f === 'cas' && isKnown && !action.succeeded)) continue;
    // A deletion at 0 found nothing to delete.
    if (isKnown && timestamp === 0) continue;
    if (isKnown && timestamp !== undefined) {
      const { value } = effect;
      writes.stamped.push({ key, value, timestamp, isStrict: strict === true, invokedMs, returnedMs });
    } else {
      writes.uncertain.add(effect.value);
      if (action.f === 'add') writes.isAnyUncertain = true;
    }
  }
  writes.stamped.sort((one, other) => one.timestamp - other.timestamp);
  return writes;
}

function show(value: string | undefined): string {
  return value ?? 'nothing';
}

/** Commit timestamps of one key never fall in the order in which its writes happened. */
function perKeyFaults(key: string, writes: readonly StampedWrite[]): string[] {
  const faults: string[] = [];
  const byReturn = [...writes].sort((a, b) => a.returnedMs - b.returnedMs);
  const byInvocation = [...writes].sort((a, b) => a.invokedMs - b.invokedMs);
  let newest: StampedWrite | undefined;
  let next = 0;
  for (const write of byInvocation) {
    for (; (byReturn[next]?.returnedMs ?? Number.POSITIVE_INFINITY) < write.invokedMs; next += 1) {
      const over = byReturn[next] as StampedWrite;
      if (newest === undefined || over.timestamp > newest.timestamp) newest = over;
    }
    if (newest !== undefined && newest.timestamp > write.timestamp) {
      faults.push(
        `${key}: ${show(write.value)} was written at ${write.timestamp}, ` +
          `after ${show(newest.value)} at ${newest.timestamp} was acknowledged`,
      );
    }
  }
  return faults;
}

/**
 * The versions that may be the newest at or before a timestamp; writes are in order of timestamp. Of writes
 * at one timestamp the last replaces the others.
 */
function versionsAt(writes: readonly StampedWrite[], timestamp: number): StampedWrite[] {
  let low = 0;
  let high = writes.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((writes[middle] as StampedWrite).timestamp <= timestamp) low = middle + 1;
    else high = middle;
  }
  const newest = writes[low - 1]?.timestamp;
  const same: StampedWrite[] = [];
  for (let at = low - 1; at >= 0 && writes[at]?.timestamp === newest; at -= 1) {
    same.push(writes[at] as StampedWrite);
  }
  const lastInvokedMs = Math.max(...same.map(({ invokedMs }) => invokedMs));
  return same.filter(({ returnedMs }) => returnedMs >= lastInvokedMs);
}

/**
 * What plain and strict writes promise to snapshots:
 *
 * - of one key, a write that began after another was acknowledged has no smaller commit timestamp; of two
 *   at one timestamp the later replaces the earlier;
 * - a snapshot shows of each key the newest version at or before its timestamp, and nothing else;
 * - a timestamp taken after a strict write was acknowledged is not below that write's; a plain write may be
 *   missed by it.
 *
 * Writes without a timestamp (unknown outcomes, deletions of ranges) may be at any: where a snapshot shows
 * what one of them wrote, nothing can be said of that key. Reads with a timestamp among the operations are
 * taken as snapshots at a timestamp that was asked for after their invocation.
 */
export function orderingFaults(history: History): string[] {
  const faults: string[] = [];
  const byKey = new Map<string, KeyWrites>();
  for (const [key, operations] of history.byKey()) {
    const writes = writesOf(operations);
    byKey.set(key, writes);
    faults.push(...perKeyFaults(key, writes.stamped));
  }
  for (const snapshot of history.snapshots) {
    for (const key of snapshot.keys) {
      const fault = rowFault(key, snapshot, byKey.get(key));
      if (fault !== undefined) faults.push(fault);
    }
  }
  faults.push(
    ...strictFaults(
      history.operations,
      [...byKey.values()].flatMap(({ stamped }) => stamped),
    ),
  );
  return faults;
}

function rowFault(key: string, snapshot: SnapshotRead, writes: KeyWrites | undefined): string | undefined {
  const value = snapshot.rows.get(key);
  const versions = versionsAt(writes?.stamped ?? [], snapshot.timestamp);
  const isRight =
    versions.length === 0 ? value === undefined : versions.some((version) => version.value === value);
  if (isRight) return undefined;
  if (writes?.uncertain.has(value) === true || writes?.isAnyUncertain === true) return undefined;
  const expected = versions.map((version) => `${show(version.value)} of ${version.timestamp}`).join(' or ');
  const shown = `shows ${show(value)}, not ${expected === '' ? 'nothing' : expected}`;
  return `${key}: a snapshot at ${snapshot.timestamp} ${shown}`;
}

/** Over time: the largest timestamp of the strict writes acknowledged so far bounds those taken next. */
function strictFaults(operations: readonly Operation[], writes: readonly StampedWrite[]): string[] {
  const strict = writes.filter(({ isStrict }) => isStrict).sort((a, b) => a.returnedMs - b.returnedMs);
  const taken = operations
    .filter(({ action, timestamp }) => action.f === 'read' && timestamp !== undefined)
    .sort((a, b) => a.invokedMs - b.invokedMs);
  const faults = new Set<string>();
  let newest: StampedWrite | undefined;
  let next = 0;
  for (const { invokedMs, timestamp } of taken) {
    for (; (strict[next]?.returnedMs ?? Number.POSITIVE_INFINITY) < invokedMs; next += 1) {
      const over = strict[next] as StampedWrite;
      if (newest === undefined || over.timestamp > newest.timestamp) newest = over;
    }
    if (newest === undefined || newest.timestamp <= (timestamp as number)) continue;
    faults.add(
      `${newest.key}: strict ${show(newest.value)} of ${newest.timestamp} was acknowledged ` +
        `before timestamp ${timestamp} was taken`,
    );
  }
  return [...faults];
}
