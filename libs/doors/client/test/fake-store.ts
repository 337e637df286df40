import { CairnError, NO_BYTES } from '@cairn/base';
import { detailFromError } from '../src/errors.js';
import { keyAfter, prefixEnd } from '../src/bytes.js';
import {
  Consistency,
  type BatchOperation,
  type BatchResult,
  type CompareAndSetRequest,
  type RequestId,
  type ScanRequest,
} from '../src/wire-binding.js';
import type { Row } from '@cairn/wire/gen/cairn/v1/kv.js';
import { FakeWatches } from './fake-watches.js';
import { FakeTransactions, type StoredVersion } from './fake-transactions.js';

type Operation = NonNullable<BatchOperation['operation']>;
type Result = NonNullable<BatchResult['result']>;

type Version = StoredVersion;

const INT64_LIMIT = 2n ** 63n;

/**
 * What a cluster promises of `cairn.v1.KV`, in memory: versions, snapshots at a timestamp, request ids whose
 * first outcome is answered again. Several fake routers may share one. Keys are held as latin1 strings, whose
 * order is that of their bytes.
 */
export class FakeStore {
  readonly keyBytesMax: number;
  readonly valueBytesMax: number;
  /** Writes applied, replays not counted. */
  writesApplied = 0;
  /** Writes that were answered from an earlier application. */
  writesReplayed = 0;
  readonly transactions: FakeTransactions;
  /** Every write, for those who watch. */
  readonly watches = new FakeWatches();
  /** What keys hold that are not bytes; by key. */
  readonly kinds = new Map<string, number>();
  readonly #rows = new Map<string, Version[]>();
  #sortedKeys: string[] = [];
  #isSorted = true;
  readonly #outcomes = new Map<string, Result>();
  #timestamp = 1_000_000;
  #sequence = 0;

  constructor(limits: { keyBytesMax?: number; valueBytesMax?: number } = {}) {
    this.keyBytesMax = limits.keyBytesMax ?? 4096;
    this.valueBytesMax = limits.valueBytesMax ?? 1024 * 1024;
    this.transactions = new FakeTransactions({
      tick: () => (this.#timestamp += 1),
      liveAt: (key, at) => this.#read(key.toString('latin1'), at),
      isChangedSince: (start, end, since) => this.#isChangedSince(start, end, since),
      kindOf: (key) => this.kinds.get(key.toString('latin1')) ?? 0,
      checkKey: (key) => this.#checkKey(key),
      appendAt: (key, value, ttlMs, at) => {
        this.#checkKey(key);
        return this.#append(key, value, ttlMs, at);
      },
    });
  }

  get timestamp(): number {
    return this.#timestamp;
  }

  /** Live keys, for asserting on. */
  get size(): number {
    return this.scan({ limit: 0 }).length;
  }

  apply(operation: Operation): Result {
    try {
      return this.#applyChecked(operation);
    } catch (error) {
      if (!CairnError.is(error)) throw error;
      return { $case: 'error', value: detailFromError(error) };
    }
  }

  #applyChecked(operation: Operation): Result {
    switch (operation.$case) {
      case 'get': {
        this.#checkKey(operation.value.key);
        const at =
          operation.value.consistency === Consistency.TIMESTAMP ? operation.value.timestamp : Infinity;
        const found = this.#read(operation.value.key.toString('latin1'), at);
        const value = {
          found: found !== undefined,
          value: found?.value ?? NO_BYTES,
          version: found?.version ?? NO_BYTES,
          expiresUnixMs: shownExpiry(found),
        };
        return { $case: 'get', value };
      }
      case 'put':
      case 'delete':
      case 'compareAndSet':
      case 'increment':
      case 'expire':
        return this.#deduplicated(operation.value.requestId, () => this.#write(operation));
      case 'deleteRange': {
        const { start, end, prefix } = operation.value;
        const rows = this.scan({ start, end, prefix });
        for (const row of rows) this.#append(row.key, undefined, 0);
        return { $case: 'deleteRange', value: { deleted: rows.length } };
      }
      case 'snapshotGet':
      case 'getTimestamp':
      case 'commit':
      case 'execute':
      case 'reserve':
      case 'release':
        return this.transactions.apply(operation);
      case 'cancel':
        throw new Error('cancel is not an operation of the store');
    }
  }

  #deduplicated(id: RequestId | undefined, write: () => Result): Result {
    const name = id === undefined ? '' : `${id.client}:${id.sequence}`;
    const earlier = this.#outcomes.get(name);
    if (earlier !== undefined) {
      this.writesReplayed += 1;
      return earlier;
    }
    const result = write();
    this.writesApplied += 1;
    if (id !== undefined) this.#outcomes.set(name, result);
    return result;
  }

  #write(
    operation: Extract<Operation, { $case: 'put' | 'delete' | 'compareAndSet' | 'increment' | 'expire' }>,
  ): Result {
    const key = operation.value.key;
    this.#checkKey(key);
    const current = this.#read(key.toString('latin1'), Infinity);
    switch (operation.$case) {
      case 'put':
        return { $case: 'put', value: this.#append(key, operation.value.value, operation.value.ttlMs) };
      case 'delete': {
        const { version, timestamp } = this.#append(key, undefined, 0);
        return { $case: 'delete', value: { existed: current !== undefined, version, timestamp } };
      }
      case 'expire': {
        if (current === undefined) {
          return { $case: 'expire', value: { existed: false, version: NO_BYTES, timestamp: 0 } };
        }
        const written = this.#append(key, current.value, operation.value.ttlMs);
        return { $case: 'expire', value: { existed: true, ...written } };
      }
      case 'compareAndSet': {
        if (!isAsExpected(operation.value, current)) {
          const found = current !== undefined;
          const value = { succeeded: false, timestamp: this.#timestamp, found, valueOmitted: false, kind: 0 };
          const there = { version: current?.version ?? NO_BYTES, value: current?.value ?? NO_BYTES };
          return { $case: 'compareAndSet', value: { ...value, ...there } };
        }
        const written = this.#append(key, operation.value.value, operation.value.ttlMs);
        return {
          $case: 'compareAndSet',
          value: { succeeded: true, found: false, value: NO_BYTES, valueOmitted: false, kind: 0, ...written },
        };
      }
      case 'increment': {
        const sum = integerOf(current?.value) + BigInt(operation.value.delta);
        if (sum >= INT64_LIMIT || sum < -INT64_LIMIT) {
          throw new CairnError('FAILED_PRECONDITION', 'the sum does not fit 64 bits');
        }
        const written = this.#append(key, Buffer.from(sum.toString()), 0);
        return { $case: 'increment', value: { value: sum.toString(), ...written } };
      }
    }
  }

  #checkKey(key: Buffer): void {
    if (key.length === 0) throw invalid('key', 'key must not be empty');
    if (key.length > this.keyBytesMax) {
      throw invalid('key', `key has ${key.length} bytes; the limit is ${this.keyBytesMax}`);
    }
  }

  #isChangedSince(start: Buffer, end: Buffer | 'key', since: number): boolean {
    const low = start.toString('latin1');
    const high = end === 'key' ? `${low}\0` : end.toString('latin1');
    for (const [name, versions] of this.#rows) {
      if (name < low || (high !== '' && name >= high)) continue;
      if ((versions.at(-1)?.timestamp ?? 0) > since) return true;
    }
    return false;
  }

  #append(
    key: Buffer,
    value: Buffer | undefined,
    ttlMs: number,
    at?: number,
  ): { version: Buffer; timestamp: number } {
    if (value !== undefined && value.length > this.valueBytesMax) {
      throw invalid('value', `value has ${value.length} bytes; the limit is ${this.valueBytesMax}`);
    }
    this.#timestamp = at ?? this.#timestamp + 1;
    this.#sequence += 1;
    const version = Buffer.alloc(12);
    version.writeBigUInt64BE(BigInt(this.#timestamp), 0);
    version.writeUInt32BE(this.#sequence, 8);
    const name = key.toString('latin1');
    const versions = this.#rows.get(name) ?? [];
    if (versions.length === 0) {
      this.#rows.set(name, versions);
      this.#sortedKeys.push(name);
      this.#isSorted = false;
    }
    const kept = value === undefined ? undefined : Buffer.from(value);
    const expiresUnixMs = ttlMs > 0 ? Date.now() + ttlMs : Infinity;
    versions.push({ timestamp: this.#timestamp, version, value: kept, expiresUnixMs });
    this.watches.append({
      ...{ key: Buffer.from(key), deleted: kept === undefined, value: kept ?? NO_BYTES, version },
      ...{ timestamp: this.#timestamp, expiresUnixMs: ttlMs > 0 ? expiresUnixMs : 0 },
    });
    return { version, timestamp: this.#timestamp };
  }

  #read(name: string, at: number): (Version & { readonly value: Buffer }) | undefined {
    const versions = this.#rows.get(name) ?? [];
    for (let index = versions.length - 1; index >= 0; index -= 1) {
      const version = versions[index];
      if (version === undefined || version.timestamp > at) continue;
      if (version.value === undefined || version.expiresUnixMs <= Date.now()) return undefined;
      return { ...version, value: version.value };
    }
    return undefined;
  }

  /** Rows of a span as of `timestamp` (default: now). */
  scan(request: Partial<ScanRequest>): Row[] {
    if (!this.#isSorted) {
      this.#sortedKeys.sort();
      this.#isSorted = true;
    }
    const prefix = request.prefix ?? NO_BYTES;
    const start = (prefix.length > 0 ? prefix : (request.start ?? NO_BYTES)).toString('latin1');
    const end = (prefix.length > 0 ? prefixEnd(prefix) : (request.end ?? NO_BYTES)).toString('latin1');
    const at = request.timestamp === undefined || request.timestamp === 0 ? Infinity : request.timestamp;
    const rows: Row[] = [];
    const names = request.reverse === true ? this.#sortedKeys.toReversed() : this.#sortedKeys;
    const limit = request.limit === undefined || request.limit === 0 ? Infinity : request.limit;
    for (const name of names) {
      if (rows.length >= limit) break;
      if (name < start || (end !== '' && name >= end)) continue;
      const found = this.#read(name, at);
      if (found === undefined) continue;
      const kind = this.kinds.get(name) ?? 0;
      const value = request.keysOnly === true || kind !== 0 ? NO_BYTES : found.value;
      rows.push({
        key: Buffer.from(name, 'latin1'),
        value,
        version: found.version,
        kind,
        expiresUnixMs: shownExpiry(found),
      });
    }
    return rows;
  }

  /** The key right after the last of these rows. */
  static after(rows: readonly Row[]): Buffer {
    const last = rows.at(-1);
    return last === undefined ? NO_BYTES : keyAfter(last.key);
  }
}

function shownExpiry(version: Version | undefined): number {
  const expiresUnixMs = version?.expiresUnixMs ?? Infinity;
  return expiresUnixMs === Infinity ? 0 : Math.round(expiresUnixMs);
}

function isAsExpected(request: CompareAndSetRequest, current: Version | undefined): boolean {
  const expected = request.expected;
  if (expected === undefined) throw invalid('expected', 'expected must be set');
  switch (expected.$case) {
    case 'absent':
      return current === undefined;
    case 'expectedValue':
      return current?.value?.equals(expected.value) === true;
    case 'expectedVersion':
      return current?.version.equals(expected.value) === true;
  }
}

function integerOf(value: Buffer | undefined): bigint {
  if (value === undefined) return 0n;
  const text = value.toString('latin1');
  if (!/^-?\d{1,19}$/.test(text)) throw new CairnError('FAILED_PRECONDITION', 'the value is not an integer');
  return BigInt(text);
}

function invalid(field: string, message: string): CairnError {
  return new CairnError('INVALID_ARGUMENT', message, { details: { field } });
}
