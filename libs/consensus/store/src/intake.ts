import type { RaftLog } from '@cairn/raft-log';

import type { ApplyBacklog } from './apply-backlog.js';
import type { Replica } from './replica.js';

/**
 * Whether the cores of a store may take entries in. What they took is bounded by the log's disk and by the
 * engine: once a core has an entry, nobody can refuse it any more.
 */
export class Intake {
  readonly #log: Pick<RaftLog, 'stagedBytes' | 'stagedBytesMax'>;
  readonly #backlog: Pick<ApplyBacklog, 'isBehind'>;
  /** Payload bytes that cores took in and that are not in the log yet; with those there: `isLogBehind`. */
  #unstagedBytes = 0;

  constructor(log: Pick<RaftLog, 'stagedBytes' | 'stagedBytesMax'>, backlog: Pick<ApplyBacklog, 'isBehind'>) {
    this.#log = log;
    this.#backlog = backlog;
  }

  /**
   * The log's disk is behind: entries that are in no core yet are refused. What the cores took and did not
   * stage so far counts, too: one turn may take in a lot.
   */
  get isLogBehind(): boolean {
    const log = this.#log;
    return log.stagedBytes + this.#unstagedBytes >= log.stagedBytesMax;
  }

  /** No entries are taken into any core now: the log's disk is behind, or the engine. */
  get isBehind(): boolean {
    return this.isLogBehind || this.#backlog.isBehind;
  }

  /** A core took entries in; they are staged in the next turn of the replica. */
  tookIn(replica: Replica, bytes: number): void {
    replica.unstagedBytes += bytes;
    this.#unstagedBytes += bytes;
  }

  /** What the core had taken in is staged, or the replica is gone. */
  staged(replica: Replica): void {
    this.#unstagedBytes -= replica.unstagedBytes;
    replica.unstagedBytes = 0;
  }
}
