import type { Caller } from './caller.js';
import type { LoadClient, LoadIsolation } from './load-client.js';

/** A promise that a history breaks, by name, and what shows it. */
export interface Fault {
  readonly name: string;
  readonly message: string;
}

/**
 * Something that many clients do at once and whose history shows what must never be. Keys begin with
 * `LOAD_PREFIX`. A load keeps its history; it knows the clock of its callers and no other.
 */
export interface Load {
  readonly name: LoadName;
  /** Keys that are worth being the first of a range: what belongs together lies in several of them. */
  readonly splitKeys: readonly string[];
  /** Puts what must be there before the first step. Rejects when that fails. */
  layOut(client: LoadClient): Promise<void>;
  /** One call, or a few that belong together; what it was told goes into the history. */
  step(caller: Caller): Promise<void>;
  /**
   * When nothing is under way any more, and all is healed: the last reads of the history. Answers what could
   * not be read.
   */
  finalReads(caller: Caller): Promise<readonly string[]>;
  /** The history in the format of a `npm run check`, for loads that have one. */
  lines?(): readonly string[];
  /** What of the history breaks a promise. Once, behind `finalReads`. */
  judge(): readonly Fault[];
}

export const LOADS = [
  ...(['bank', 'list-append', 'sets', 'long-fork', 'write-skew', 'monotonic', 'mixed', 'watch'] as const),
] as const;
export type LoadName = (typeof LOADS)[number];

/** Of all keys of loads. */
export const LOAD_PREFIX = 'w/';
/** Past all keys of loads. */
export const LOAD_END = 'w0';

export interface LoadOptions {
  /** Of the transactions. `write-skew` means nothing but `serializable`. Default `serializable`. */
  readonly isolation?: LoadIsolation;
  /** Bytes that make values larger, at most, so that logs and tables turn over. Default 0. */
  readonly paddingBytes?: number;
  /**
   * Some transactions rest so long between what they read and what they write; more than the cluster
   * keeps old versions is worth while. Default 0: none does.
   */
  readonly restMs?: number;
}
