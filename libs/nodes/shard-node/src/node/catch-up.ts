import type { Clock, Logger, Timer } from '@cairn/ports';
import type { Replica } from '@cairn/store';

/** Replicas that ask their leaders at one time. */
const ASKING_MAX = 64;
/** A replica whose range has no leader yet asks again after this long. */
const RETRY_MS = 200;
/**
 * A node that has waited this long says that it is ready: ranges without a quorum must not hold up a restart.
 */
const WAIT_MS_MAX = 60_000;

/** What is asked of a replica. */
export type CatchingReplica = Pick<
  Replica,
  'rangeId' | 'isClosed' | 'isInitialised' | 'readIndex' | 'descriptorOrUndefined' | 'replicaId'
>;

export interface CatchUpParts {
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * After a start: has each replica that was on the disk applied all that its leader had? Until then the node
 * counts as one that is away, and stopping another one could leave a range without a quorum that is up to
 * date. Each replica asks its leader once how far it is (a read index) and is done when it is there.
 */
export class CatchUp {
  readonly #parts: CatchUpParts;
  readonly #waiting: CatchingReplica[];
  readonly #startedMs: number;
  #asking = 0;
  #timer: Timer | undefined;
  #isOver = false;

  constructor(parts: CatchUpParts, replicas: Iterable<CatchingReplica>) {
    this.#parts = parts;
    this.#waiting = [...replicas];
    this.#startedMs = parts.clock.nowMs();
  }

  start(): void {
    this.#look();
  }

  stop(): void {
    this.#isOver = true;
    this.#timer?.cancel();
  }

  /** Replicas that are not known to have caught up. */
  get pending(): number {
    return this.#isOver ? 0 : this.#waiting.length + this.#asking;
  }

  #look(): void {
    const { clock, logger } = this.#parts;
    if (this.#isOver) return;
    if (clock.nowMs() - this.#startedMs > WAIT_MS_MAX && this.pending > 0) {
      logger.warn('replicas have not caught up; the node is ready without them', { replicas: this.pending });
      this.stop();
      return;
    }
    let left = this.#waiting.length;
    while (left > 0 && this.#asking < ASKING_MAX) {
      left -= 1;
      const replica = this.#waiting.shift();
      if (replica !== undefined) this.#ask(replica);
    }
    if (this.pending === 0) {
      this.stop();
      return;
    }
    this.#timer = clock.setTimer(RETRY_MS, () => {
      this.#look();
    });
  }

  #ask(replica: CatchingReplica): void {
    if (replica.isClosed) return;
    const me = replica.descriptorOrUndefined?.replicas.find(
      ({ replicaId }) => replicaId === replica.replicaId,
    );
    // Learners are caught up by whoever adds them.
    if (me?.role === 'learner') return;
    if (!replica.isInitialised) {
      this.#waiting.push(replica);
      return;
    }
    this.#asking += 1;
    replica.readIndex((isConfirmed) => {
      this.#asking -= 1;
      if (!isConfirmed && !replica.isClosed) this.#waiting.push(replica);
    });
  }
}
