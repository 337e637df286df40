import type { RangeId } from '@cairn/base';

import type { LeadershipLog } from './leadership-log.js';
import type { Replica } from './replica.js';
import type { StoreHeartbeats } from './store-heartbeats.js';

export interface LeadershipParts {
  readonly heartbeats: Pick<StoreHeartbeats, 'lead'>;
  readonly log: Pick<LeadershipLog, 'changed'>;
  /** Tells whoever hosts the store. */
  changed(rangeId: RangeId): void;
}

/** Who has to hear that a replica leads, or leads no more. */
export class Leadership {
  readonly #parts: LeadershipParts;

  constructor(parts: LeadershipParts) {
    this.#parts = parts;
  }

  /** The core has another role, term or leader. */
  stateChanged(replica: Replica): void {
    this.#parts.log.changed(replica);
    replica.wake();
    this.#parts.changed(replica.rangeId);
  }

  /** The leader has applied an entry of its own term: what earlier leaders committed is in its state. */
  readyToLead(replica: Replica): void {
    replica.isReadyLeader = true;
    this.#parts.heartbeats.lead(replica);
    replica.machine?.leadershipGained(replica.term);
    this.#parts.changed(replica.rangeId);
  }
}
