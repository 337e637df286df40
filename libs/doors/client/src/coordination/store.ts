import { CairnError } from '@cairn/base';
import type { CairnClient } from '../client.js';
import type { Entry } from '../entry.js';
import type { CallOptions } from '../options.js';
import { decodeRecord, decodeToken, encodeRecord, type HolderRecord, type LeaseKeys } from './record.js';

/** Who holds something, at one instant. */
export interface Holding {
  /** Undefined while nobody holds it. */
  readonly holder: HolderRecord | undefined;
  /** Of the last acquisition; 0 before the first. */
  readonly token: bigint;
  /** By the clock of the cluster; undefined while nobody holds it. */
  readonly expiresUnixMs: number | undefined;
}

export type AcquireOutcome =
  { readonly acquired: true; readonly token: bigint } | ({ readonly acquired: false } & Holding);

export interface Replacement {
  readonly expected: HolderRecord;
  readonly record: HolderRecord;
  readonly ttlMs: number;
}

/** `holder`: whom it found instead; undefined = nobody. */
export type ReplaceOutcome =
  { readonly replaced: true } | { readonly replaced: false; readonly holder: HolderRecord | undefined };

/**
 * Where locks and elections are kept. Each call happens at one instant or not at all; errors are
 * `CairnError`.
 */
export interface CoordinationStore {
  /** If nobody holds it: writes the holder, and counts the token on. Else tells who holds it. */
  acquire(
    keys: LeaseKeys,
    record: HolderRecord,
    ttlMs: number,
    options: CallOptions,
  ): Promise<AcquireOutcome>;
  /** If the holder is `expected`: writes `record` in its place, to live for `ttlMs` from now. */
  replace(keys: LeaseKeys, change: Replacement, options: CallOptions): Promise<ReplaceOutcome>;
  /** If the holder is `expected`: removes it. Resolves with whether it was. */
  remove(keys: LeaseKeys, expected: HolderRecord, options: CallOptions): Promise<boolean>;
  read(keys: LeaseKeys, options: CallOptions): Promise<Holding>;
  /**
   * Who holds it now, then whoever does each time that the row is written; undefined = nobody. That a row
   * expires is not told. Ends with the signal, or rejects.
   */
  holders(keys: LeaseKeys, signal: AbortSignal): AsyncIterable<HolderRecord | undefined>;
}

/** The cluster behind a client. */
export class ClientStore implements CoordinationStore {
  readonly #client: CairnClient;

  constructor(client: CairnClient) {
    this.#client = client;
  }

  async acquire(
    keys: LeaseKeys,
    record: HolderRecord,
    ttlMs: number,
    options: CallOptions,
  ): Promise<AcquireOutcome> {
    const outcome = await this.#client.execute(
      {
        if: [{ key: keys.holder, absent: true }],
        then: [
          { increment: { key: keys.token } },
          { put: { key: keys.holder, value: encodeRecord(record), ttlMs } },
        ],
        else: [{ get: { key: keys.holder } }, { get: { key: keys.token } }],
      },
      options,
    );
    if (outcome.succeeded) return { acquired: true, token: outcome.results[0] };
    return { acquired: false, ...holdingOf(outcome.results[0], outcome.results[1]) };
  }

  async replace(
    keys: LeaseKeys,
    { expected, record, ttlMs }: Replacement,
    options: CallOptions,
  ): Promise<ReplaceOutcome> {
    const { succeeded, current } = await this.#client.compareAndSet(keys.holder, {
      ...options,
      expectedValue: encodeRecord(expected),
      value: encodeRecord(record),
      ttlMs,
    });
    if (succeeded) return { replaced: true };
    return { replaced: false, holder: current === undefined ? undefined : decodeRecord(current.value) };
  }

  async remove(keys: LeaseKeys, expected: HolderRecord, options: CallOptions): Promise<boolean> {
    const expectedValue = encodeRecord(expected);
    return (await this.#client.compareAndSet(keys.holder, { ...options, expectedValue })).succeeded;
  }

  async read(keys: LeaseKeys, options: CallOptions): Promise<Holding> {
    const outcome = await this.#client.execute(
      { then: [{ get: { key: keys.holder } }, { get: { key: keys.token } }] },
      options,
    );
    if (outcome.succeeded) return holdingOf(outcome.results[0], outcome.results[1]);
    throw new CairnError('INTERNAL', 'no conditions did not hold');
  }

  async *holders(
    keys: LeaseKeys,
    signal: AbortSignal,
  ): AsyncGenerator<HolderRecord | undefined, void, undefined> {
    // Behind now no leader has to read its range for it, as it would for what was a moment ago.
    const watch = this.#client.watch({ key: keys.holder, signal });
    try {
      await watch.start();
      yield (await this.read(keys, { signal })).holder;
      for await (const change of watch)
        yield change.type === 'delete' ? undefined : decodeRecord(change.value);
    } finally {
      watch.close();
    }
  }
}

function holdingOf(holder: Entry | undefined, token: Entry | undefined): Holding {
  return {
    holder: holder === undefined ? undefined : decodeRecord(holder.value),
    token: token === undefined ? 0n : decodeToken(token.value),
    expiresUnixMs: holder?.expiresAtMs,
  };
}
