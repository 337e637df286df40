import type { CairnError } from '@cairn/base';
import type { Clock, Logger, Rng } from '@cairn/ports';
import { invalidArgument, type BytesInput } from './bytes.js';
import type { StoredValue } from './entry.js';
import type { RouterConnector } from './router-link.js';
import type { Hold } from './wire-binding.js';

export interface ClientOptions {
  /** Routers as `host:port`; at least one. One is used at a time, the others take over when it is lost. */
  readonly endpoints: readonly string[];
  /** Deadline of a call that sets none, milliseconds; default 10,000. */
  readonly timeoutMs?: number;
  /** Most calls that may be open at a time; one more is refused with RESOURCE_EXHAUSTED. Default 16,384. */
  readonly outstandingMax?: number;
  /**
   * Bytes of keys and values of open calls together; one more call is refused with RESOURCE_EXHAUSTED,
   * unless it is alone. Default 256 MiB.
   */
  readonly outstandingBytesMax?: number;
  /** A router that has not said hello after this long counts as unreachable; default 3,000. */
  readonly connectTimeoutMs?: number;
  /**
   * Retries of refused calls (RESOURCE_EXHAUSTED, UNAVAILABLE) that may be spent at once; each costs one,
   * each success earns a tenth, each second a tenth of the maximum. 0 = never retry a refusal. Default 1,000.
   */
  readonly retryBudgetMax?: number;
  /** Default: the clock of this process. */
  readonly clock?: Clock;
  /** Default: the system's randomness. */
  readonly rng?: Rng;
  readonly logger?: Logger;
  /** How routers are reached; default gRPC without TLS. */
  readonly connector?: RouterConnector;
}

export interface CallOptions {
  /** Deadline from now, milliseconds; scans: of each page. Default: that of the client. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /**
   * W3C trace context that the call continues: operations on keys; scans and calls of the cluster are not
   * traced.
   */
  readonly traceparent?: string;
}

/**
 * `linearizable` (default) sees every write acknowledged before the read began; `stale` reads any voting
 * replica whose state is whole, fast and possibly old; a timestamp (of `client.timestamp()`, a scan's page, a
 * receipt) reads the state as of then.
 */
export type ReadConsistency = 'linearizable' | 'stale' | { readonly timestamp: number };

export interface ReadOptions extends CallOptions {
  readonly consistency?: ReadConsistency;
}

/** See `Ordering` in kv.proto; `strict` costs a timestamp round trip. */
export type WriteOrdering = 'plain' | 'strict';

export interface WriteOptions extends CallOptions {
  readonly ordering?: WriteOrdering;
}

export interface PutOptions extends WriteOptions {
  /**
   * The key removes itself after this long, ten years at most. 0, or left out = never, whatever time to live
   * it had before: a put or a compareAndSet replaces that, too.
   */
  readonly ttlMs?: number;
}

export interface HoldOptions extends CallOptions {
  /** The hold ends by itself after this long, unless it is renewed. At most what `gc.hold_max_seconds` says. */
  readonly ttlMs: number;
  /**
   * What a read at this sees is kept. Left out: what the hold that is renewed keeps; of a new one, the newest
   * timestamp there is.
   */
  readonly timestamp?: number;
  /** For people, at most 256 printable ASCII characters. */
  readonly reason?: string;
}

/** What keeps old versions from being collected. */
export interface Holds {
  /** In the order of their names. */
  readonly holds: readonly Hold[];
  /** Old versions that no read at or above it needs may be collected; 0 = nothing may be, yet. */
  readonly safePoint: number;
  /** The newest that was issued. */
  readonly timestamp: number;
  /** What keeps the safe point from following `gc.life_seconds`, in words; empty = nothing does. */
  readonly pinnedBy: string;
}

/** Exactly one `expected…` field. `value` left out deletes the key. */
export interface CompareAndSetOptions extends PutOptions {
  /** The key must not exist. */
  readonly expectedAbsent?: true;
  readonly expectedValue?: BytesInput;
  readonly expectedVersion?: Uint8Array;
  readonly value?: BytesInput;
}

/** A span of keys: either a prefix, or bounds of which each may be left out. */
export interface Span {
  /** First key, inclusive. */
  readonly start?: BytesInput;
  /** First key past the span. */
  readonly end?: BytesInput;
  readonly prefix?: BytesInput;
}

export interface ScanOptions extends ReadOptions, Span {
  /** Most rows; 0 = all. */
  readonly limit?: number;
  /** From the last key to the first. */
  readonly reverse?: boolean;
  /** Rows come with empty values. */
  readonly keysOnly?: boolean;
  /** A page ends when its rows pass this many bytes; 0 = the server's default of 256 KiB, at most 2 MiB. */
  readonly pageBytes?: number;
}

export interface WriteReceipt {
  /** Opaque, unique per write of the key. */
  readonly version: Buffer;
  /**
   * Where the write committed: reads at or above it see it, or a later write of the key. Later writes may
   * carry the same timestamp: what a read at exactly this one finds is this write only if its version is
   * the same.
   */
  readonly timestamp: number;
}

export interface DeleteReceipt extends WriteReceipt {
  /** There was a live value. */
  readonly existed: boolean;
}

export interface CompareAndSetResult extends WriteReceipt {
  readonly succeeded: boolean;
  /** On failure: what is there; undefined when the key does not exist. */
  readonly current: StoredValue | undefined;
}

/** One operation of `writeMany`. */
export type WriteOperationInput =
  | { readonly put: { readonly key: BytesInput; readonly value: BytesInput } & PutOptions }
  | { readonly delete: { readonly key: BytesInput } & WriteOptions }
  | { readonly compareAndSet: { readonly key: BytesInput } & CompareAndSetOptions }
  | { readonly expire: { readonly key: BytesInput; readonly ttlMs: number } & WriteOptions }
  | { readonly persist: { readonly key: BytesInput } & WriteOptions }
  | { readonly increment: { readonly key: BytesInput; readonly delta: number | bigint } & WriteOptions };

/** What happened to one operation of `writeMany`. */
export type WriteOutcome =
  | { readonly kind: 'put'; readonly receipt: WriteReceipt }
  | { readonly kind: 'delete'; readonly receipt: DeleteReceipt }
  | { readonly kind: 'compareAndSet'; readonly result: CompareAndSetResult }
  | { readonly kind: 'expire' | 'persist'; readonly receipt: DeleteReceipt }
  | { readonly kind: 'increment'; readonly value: bigint }
  | { readonly kind: 'error'; readonly error: CairnError };

/** Numbers of one client since it was made; counts, not rates. */
export interface ClientStats {
  callsStarted: number;
  callsSucceeded: number;
  callsFailed: number;
  /** Calls open now. */
  callsOpen: number;
  messagesSent: number;
  operationsSent: number;
  /** Operations sent again because their stream broke. */
  operationsResent: number;
  /** Operations sent again because the server refused them for the moment. */
  refusalsRetried: number;
  /** Connections that reached the hello. */
  connections: number;
  connectionsLost: number;
  /** Routers that answered nothing while calls ran out of time, and were left for another. */
  routersGivenUp: number;
  /** Answers to calls that were no longer open. */
  answersLate: number;
  scansResumed: number;
  /** Watches that went on at a router with their tokens. */
  watchesResumed: number;
  /** Closures of transactions that ran again because others had come in between. */
  transactionsRestarted: number;
}

export function newClientStats(): ClientStats {
  return {
    callsStarted: 0,
    callsSucceeded: 0,
    callsFailed: 0,
    callsOpen: 0,
    messagesSent: 0,
    operationsSent: 0,
    operationsResent: 0,
    refusalsRetried: 0,
    connections: 0,
    connectionsLost: 0,
    routersGivenUp: 0,
    answersLate: 0,
    scansResumed: 0,
    watchesResumed: 0,
    transactionsRestarted: 0,
  };
}

/** Longest deadline that fits the wire's 32 bits of milliseconds, rounded down to a day below it. */
export const TIMEOUT_MS_MAX = 48 * 24 * 3600 * 1000;

/** A whole, positive number of milliseconds, or INVALID_ARGUMENT. */
export function checkTimeout(timeoutMs: number): number {
  if (!(timeoutMs > 0 && timeoutMs <= TIMEOUT_MS_MAX)) {
    throw invalidArgument(
      'timeoutMs',
      `timeoutMs must be above 0 and at most ${TIMEOUT_MS_MAX}, not ${timeoutMs}`,
    );
  }
  return timeoutMs;
}

export interface ResolvedLimits {
  readonly endpoints: readonly string[];
  readonly timeoutMs: number;
  readonly outstandingMax: number;
  readonly outstandingBytesMax: number;
  readonly connectTimeoutMs: number;
  readonly retryBudgetMax: number;
}

/** Whether a text is `host:port`, with a port from 1 to 65535 and an IPv6 host in brackets. */
export function isEndpoint(text: string): boolean {
  const port = /^(?:\[[0-9a-fA-F:.]+\]|[^\s:/,]+):(\d{1,5})$/.exec(text)?.[1];
  return port !== undefined && Number(port) >= 1 && Number(port) <= 65_535;
}

/** Fills defaults and refuses what cannot work, so that a mistake shows at `connect` and not under load. */
export function resolveLimits(options: ClientOptions): ResolvedLimits {
  if (options.endpoints.length === 0) {
    throw invalidArgument('endpoints', 'endpoints must name at least one router, for example 127.0.0.1:7100');
  }
  for (const endpoint of options.endpoints) {
    if (!isEndpoint(endpoint)) {
      throw invalidArgument(
        'endpoints',
        `"${endpoint}" is not an endpoint; write host:port, for example 127.0.0.1:7100`,
      );
    }
  }
  return {
    endpoints: [...new Set(options.endpoints)],
    timeoutMs: checkTimeout(options.timeoutMs ?? 10_000),
    outstandingMax: positive('outstandingMax', options.outstandingMax ?? 16_384, 1),
    outstandingBytesMax: positive('outstandingBytesMax', options.outstandingBytesMax ?? 256 * 1024 * 1024, 1),
    connectTimeoutMs: checkTimeout(options.connectTimeoutMs ?? 3_000),
    retryBudgetMax: positive('retryBudgetMax', options.retryBudgetMax ?? 1_000, 0),
  };
}

function positive(field: string, value: number, least: number): number {
  if (!Number.isSafeInteger(value) || value < least) {
    throw invalidArgument(field, `${field} must be a whole number of at least ${least}, not ${value}`);
  }
  return value;
}
