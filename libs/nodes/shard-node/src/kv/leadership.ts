import { rethrowInvariant, timestamp, type Term, type Timestamp } from '@cairn/base';

import type { KvEnvironment } from './kv-environment.js';
import type { ServedRange } from './served-range.js';

/** A leader that got no first timestamp asks again after this. */
const RETRY_MS = 50;

/** Whether this replica serves as leader: a new leader does only once it has a fresh timestamp. */
export class Leadership {
  readonly #environment: Pick<KvEnvironment, 'timestamps' | 'logger' | 'clock'>;
  readonly #range: Pick<ServedRange, 'replica' | 'isClosed' | 'descriptor'>;
  /** The term in which this leader has a fresh timestamp and serves; 0 = not serving. */
  #servingTerm = 0;
  #since: Timestamp = timestamp(0);

  constructor(
    environment: Pick<KvEnvironment, 'timestamps' | 'logger' | 'clock'>,
    range: Pick<ServedRange, 'replica' | 'isClosed' | 'descriptor'>,
  ) {
    this.#environment = environment;
    this.#range = range;
  }

  /** Serves what only a leader may. Not while a split is under way. */
  get isServing(): boolean {
    const { replica } = this.#range;
    return replica.isReadyLeader && this.#servingTerm === replica.term && !replica.isFrozen;
  }

  /**
   * A timestamp that the oracle issued when this replica last became leader; commands stamped before may have
   * been sent to others.
   */
  get since(): Timestamp {
    return this.#since;
  }

  /** A new leader serves only with a timestamp above everything that earlier leaders read or wrote at. */
  gained(term: Term): void {
    this.#environment.timestamps.fetch().then(
      (fresh) => {
        if (!this.#leadsIn(term)) return;
        this.#servingTerm = term;
        this.#since = fresh;
        this.#range.replica.wake();
      },
      (error: unknown) => {
        rethrowInvariant(error);
        if (!this.#leadsIn(term)) return;
        this.#environment.logger.warn('no timestamp for a new leader yet', {
          range: this.#range.descriptor.rangeId,
          reason: String(error),
        });
        this.#environment.clock.setTimer(RETRY_MS, () => {
          if (this.#leadsIn(term)) this.gained(term);
        });
      },
    );
  }

  #leadsIn(term: Term): boolean {
    const { isClosed, replica } = this.#range;
    return !isClosed && replica.isReadyLeader && replica.term === term;
  }

  lost(): void {
    this.#servingTerm = 0;
  }
}
