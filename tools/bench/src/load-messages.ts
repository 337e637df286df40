import type { FailoverRequest, FailoverResult } from './failover.js';
import type { OpenLoopRequest, OpenLoopResult } from './open-loop.js';
import type { CpuUse } from './process-stats.js';
import type { WorkName } from './works.js';

/** What a load process drives; given to it as its one argument, in JSON. */
export interface LoadSetup {
  readonly system: 'cairn' | 'etcd';
  readonly endpoints: readonly string[];
  readonly keys: number;
  readonly valueBytes: number;
  /** False: refusals surface instead of being repeated. Default: as the client does. */
  readonly retries?: boolean;
}

/** A work of the Node client; `unary` belongs to the native generator. */
export type LoadWork = Exclude<WorkName, 'unary'>;

export interface RunRequest {
  readonly kind: 'run';
  readonly work: LoadWork;
  readonly outstanding: number;
  readonly warmupMs: number;
  readonly durationMs: number;
  readonly seed: number;
  /** Whose CPU time to take at both ends of the window. */
  readonly processIds: readonly number[];
  /** Of works that need to know: where ranges begin, as of `rangeStarts`; none = there is one. */
  readonly ranges?: readonly number[];
}

export type LoadRequest =
  RunRequest | FailoverRequest | OpenLoopRequest | { readonly kind: 'preload'; readonly outstanding: number };

/** What happened in the window of one run. */
export interface RunResult {
  /** Operations, of a scan rows, that succeeded. */
  readonly operations: number;
  readonly elapsedMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly errors: number;
  /** Message of the first error; empty without. */
  readonly firstError: string;
  /** Reads that found nothing although every key was loaded. */
  readonly misses: number;
  readonly cpu: CpuUse;
  /** Works with transactions: how often one ran again because others came in between. */
  readonly restarts?: number;
  /** The same works: the longest time that one slot was without a success. */
  readonly starvationMs?: number;
}

export type LoadReply =
  | { readonly kind: 'ready' }
  | { readonly kind: 'preloaded' }
  | { readonly kind: 'result'; readonly result: RunResult }
  | { readonly kind: 'failover'; readonly result: FailoverResult }
  | { readonly kind: 'open'; readonly result: OpenLoopResult }
  | { readonly kind: 'failed'; readonly message: string };
