import { timestampFromUnixMs, TIMESTAMP_LOGICAL_STEPS } from '@cairn/base';
import { invalidArgument, type BytesInput } from './bytes.js';
import type { CairnClient } from './client.js';
import type { Entry } from './entry.js';
import type { CallOptions, ScanOptions } from './options.js';
import type { Scan } from './scan.js';
import type { SnapshotOptions } from './transaction-options.js';

export type SnapshotScanOptions = Omit<ScanOptions, 'consistency'>;

/** The cluster as of one instant; made by `client.snapshot`. It holds nothing and needs no closing. */
export class Snapshot {
  /** The instant. It stays readable for the cluster's `gc.life_seconds`. */
  readonly timestamp: number;
  readonly #client: CairnClient;

  /** Callers use `client.snapshot`. */
  constructor(client: CairnClient, timestamp: number) {
    this.#client = client;
    this.timestamp = timestamp;
  }

  get(key: BytesInput, options: CallOptions = {}): Promise<Entry | undefined> {
    return this.#client.get(key, { ...options, ...this.#at });
  }

  /** Many keys, in their order. Rejects with the first error. */
  getMany(keys: readonly BytesInput[], options: CallOptions = {}): Promise<(Entry | undefined)[]> {
    return this.#client.getMany(keys, { ...options, ...this.#at });
  }

  /** As `client.scan`. */
  scan(options: SnapshotScanOptions = {}): Scan {
    return this.#client.scan({ ...options, ...this.#at });
  }

  get #at(): { readonly consistency: { readonly timestamp: number } } {
    return { consistency: { timestamp: this.timestamp } };
  }
}

/** The timestamp that is meant. INVALID_ARGUMENT for what names none. */
export async function timestampAt(
  at: SnapshotOptions['at'],
  now: () => Promise<number>,
  field = 'at',
): Promise<number> {
  if (at === undefined) return now();
  if (typeof at === 'number') {
    if (!Number.isSafeInteger(at) || at === 0)
      throw invalidArgument(field, `${field} must be a timestamp or whole milliseconds below 0, not ${at}`);
    return at > 0 ? at : positive((await now()) + at * TIMESTAMP_LOGICAL_STEPS, field);
  }
  const unixMs = at.getTime();
  if (Number.isNaN(unixMs)) throw invalidArgument(field, `${field} is a Date that is no time`);
  return positive(timestampFromUnixMs(unixMs), field);
}

function positive(timestamp: number, field: string): number {
  if (timestamp > 0) return timestamp;
  throw invalidArgument(field, `${field} lies before the first timestamp that there can be`);
}
