/** What an operation did, as far as one key is concerned. */
export type Action =
  | { readonly f: 'write'; readonly value: string | undefined }
  | { readonly f: 'read'; readonly value: string | undefined }
  /** `expected` undefined = absent. On failure (`succeeded` false) `found` is what was there. */
  | {
      readonly f: 'cas';
      readonly expected: string | undefined;
      readonly value: string | undefined;
      readonly succeeded: boolean;
      readonly found: string | undefined;
    }
  /** `result` is the sum that was answered. */
  | { readonly f: 'add'; readonly delta: number; readonly result: string };

/** One operation on one key. Times are virtual milliseconds of the whole simulation, not of any process. */
export interface Operation {
  readonly process: string;
  readonly key: string;
  readonly action: Action;
  readonly invokedMs: number;
  /** Infinity: the outcome is unknown, it may take effect at any time after, or never. */
  readonly returnedMs: number;
  /** Of acknowledged writes: where it committed. Of the rows of a scan: what the scan read at. */
  readonly timestamp?: number;
  /** Of writes: asked for with STRICT ordering. */
  readonly strict?: boolean;
}

/** What was seen at a timestamp: a scan, or a read of single keys at a timestamp of the past. */
export interface SnapshotRead {
  readonly process: string;
  readonly timestamp: number;
  /** What was asked for; a key that is not in `rows` was absent. */
  readonly keys: readonly string[];
  readonly rows: ReadonlyMap<string, string>;
  readonly invokedMs: number;
  readonly returnedMs: number;
}

/** All operations of a run. Those that surely did not happen are left out. */
export class History {
  readonly operations: Operation[] = [];
  /** Scans are in `operations`, too: one at a fresh timestamp is a linearizable read of each of its keys. */
  readonly snapshots: SnapshotRead[] = [];

  add(operation: Operation): void {
    // A read without an answer says nothing.
    if (operation.returnedMs === Number.POSITIVE_INFINITY && operation.action.f === 'read') return;
    this.operations.push(operation);
  }

  byKey(): Map<string, Operation[]> {
    const keys = new Map<string, Operation[]>();
    for (const operation of this.operations) {
      const list = keys.get(operation.key);
      if (list === undefined) keys.set(operation.key, [operation]);
      else list.push(operation);
    }
    return keys;
  }
}
