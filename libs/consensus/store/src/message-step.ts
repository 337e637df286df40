import type { Entry, Message } from '@cairn/raft';

import type { Intake } from './intake.js';
import type { Replica } from './replica.js';
import type { RunQueue } from './run-queue.js';
import type { StoreHeartbeats } from './store-heartbeats.js';
import type { StoreMetrics } from './store-metrics.js';
import type { SupportedReplica } from './heartbeat-peer.js';
import type { TickingReplicas } from './ticking-replicas.js';
import type { TurnTime } from './turn-time.js';

export interface MessageStepParts {
  readonly time: TurnTime;
  readonly queue: RunQueue;
  readonly intake: Intake;
  readonly heartbeats: StoreHeartbeats;
  readonly ticking: TickingReplicas<SupportedReplica>;
  readonly metrics: StoreMetrics;
}

/** Takes messages into the cores they are for. */
export class MessageStep {
  readonly #parts: MessageStepParts;

  constructor(parts: MessageStepParts) {
    this.#parts = parts;
  }

  /**
   * What follows from the message is carried out in this turn, or in the next when none runs. Answers why the
   * core did not take it.
   */
  step(replica: Replica, message: Message): string | undefined {
    const { intake, ticking } = this.#parts;
    const { raft } = replica;
    const bringsEntries = message.type === 'append' && message.entries.length > 0;
    // As if it were lost: the leader sends it again. Once the core has it, nobody can refuse it any more.
    if (bringsEntries && intake.isBehind) {
      this.#parts.metrics.droppedMessage(intake.isLogBehind ? 'log-behind' : 'engine-behind');
      return undefined;
    }
    const reason = raft.step(message, this.#parts.time.nowMs());
    if (reason !== undefined) return reason;
    this.#parts.heartbeats.afterInput(replica);
    if (raft.hasReady()) {
      if (bringsEntries) intake.tookIn(replica, payloadBytesOf(message.entries));
      this.#parts.queue.enqueue(replica);
    } else if (!replica.isTicking && !raft.isQuiescent) ticking.start(replica);
    if (replica.isTicking && message.type === 'append-response' && raft.owesOnlyNotices)
      this.#settle(replica);
    return undefined;
  }

  /** Every member has everything: their stores hear the commit index, and no tick has to come for that. */
  #settle(replica: Replica): void {
    this.#parts.heartbeats.noteCommits(replica);
    if (replica.raft.isQuiescent) this.#parts.ticking.stop(replica);
  }
}

function payloadBytesOf(entries: readonly Entry[]): number {
  let bytes = 0;
  for (const entry of entries) bytes += entry.payload.length;
  return bytes;
}
