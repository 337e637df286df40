import { assert, type ReplicaId, type Term } from '@cairn/base';
import type { Clock } from '@cairn/ports';
import type { Message, Ready } from '@cairn/raft';
import type { RaftLog } from '@cairn/raft-log';

import type { Applier } from './applier.js';
import type { ApplyBacklog } from './apply-backlog.js';
import type { Delivery } from './delivery.js';
import type { SupportedReplica } from './heartbeat-peer.js';
import type { DeliverMessage, InboundQueue } from './inbound.js';
import type { Installations } from './installations.js';
import type { Intake } from './intake.js';
import type { Leadership } from './leadership.js';
import type { PeerLinks, RangeHint } from './peer-links.js';
import type { Replica } from './replica.js';
import type { RunQueue } from './run-queue.js';
import type { SnapshotSender } from './snapshot-send.js';
import type { StoreConfig } from './store-config.js';
import type { StoreHeartbeats } from './store-heartbeats.js';
import type { StoreLife } from './store-life.js';
import type { StoreMetrics } from './store-metrics.js';
import type { TickingReplicas } from './ticking-replicas.js';
import type { TurnTime } from './turn-time.js';

/** Readies that become durable with one write of the log. */
interface SyncItem {
  readonly replica: Replica;
  readonly sequence: number;
  readonly messages: readonly Message[];
}

export interface TurnLoopParts {
  readonly clock: Clock;
  readonly time: TurnTime;
  readonly config: StoreConfig;
  readonly queue: RunQueue;
  readonly inbound: InboundQueue;
  readonly delivery: Pick<Delivery, 'deliver'>;
  readonly intake: Pick<Intake, 'staged'>;
  readonly log: Pick<RaftLog, 'sync'>;
  readonly links: PeerLinks;
  readonly backlog: Pick<ApplyBacklog, 'enqueue' | 'holds'>;
  readonly applier: Pick<Applier, 'kick'>;
  readonly leadership: Pick<Leadership, 'stateChanged'>;
  readonly heartbeats: Pick<StoreHeartbeats, 'afterInput'>;
  readonly ticking: Pick<TickingReplicas<SupportedReplica>, 'start'>;
  readonly installations: Pick<Installations, 'begin'>;
  readonly sender: Pick<SnapshotSender, 'request'>;
  readonly metrics: StoreMetrics;
  readonly life: StoreLife;
}

/**
 * The store loop; a turn is `#runOnce`. Sockets, timers and finished writes only enqueue replicas; a turn
 * steps every queued replica, then writes one vector of log records for all of them with one sync, and sends
 * one frame per peer store. While that sync is in flight the next turn is computed; its records join the next
 * write.
 *
 * Timeline: docs/timelines/write.md
 */
export class TurnLoop {
  readonly #parts: TurnLoopParts;
  readonly #deliver: DeliverMessage;
  #isRunning = false;
  #runAgain = false;
  #group: SyncItem[] = [];

  constructor(parts: TurnLoopParts) {
    this.#parts = parts;
    this.#deliver = (from, rangeId, message, hint) => parts.delivery.deliver(from, rangeId, message, hint);
  }

  /** One turn. Also called directly when a write finished, to save the round through the event loop. */
  run(): void {
    const { life, time } = this.#parts;
    if (life.isOver) return;
    if (this.#isRunning) {
      this.#runAgain = true;
      return;
    }
    this.#isRunning = true;
    try {
      do {
        this.#runAgain = false;
        this.#runOnce();
      } while (this.#runAgain && !life.isOver);
    } catch (error) {
      life.fatal(error);
    } finally {
      this.#isRunning = false;
      time.end();
    }
  }

  #runOnce(): void {
    const { applier, clock, config, links, metrics, queue, time } = this.#parts;
    const startedMs = time.begin();
    const hasInbound = this.#drainInbound(startedMs);
    const waiting = queue.take();
    let done = 0;
    for (; done < waiting && done < config.replicasPerTurnMax; done += 1) {
      // Looking at the clock costs; every sixteenth replica is often enough for a budget of milliseconds.
      if ((done & 15) === 15 && clock.nowMs() - startedMs > config.turnBudgetMs) break;
      this.#process(queue.taken(done), startedMs);
    }
    queue.finish(done);
    links.flush();
    this.#startSync();
    applier.kick();
    metrics.turn(clock.nowMs() - startedMs, done);
    if (!queue.isEmpty || hasInbound) queue.schedule();
  }

  /** True when the budget of the turn was spent before everything was worked off. */
  #drainInbound(startedMs: number): boolean {
    const { clock, config, inbound } = this.#parts;
    if (!inbound.hasWaiting) return false;
    inbound.drain(
      {
        bytesMax: config.inboundBytesPerTurn,
        endsAtMs: startedMs + config.turnBudgetMs,
        nowMs: () => clock.nowMs(),
      },
      this.#deliver,
    );
    return inbound.hasWaiting;
  }

  #process(replica: Replica, nowMs: number): void {
    const { backlog, intake, queue } = this.#parts;
    replica.isQueued = false;
    if (replica.isClosed) {
      intake.staged(replica);
      replica.endTurn();
      return;
    }
    const { raft, machine } = replica;
    if (machine?.turn !== undefined) {
      queue.current = replica;
      machine.turn(nowMs);
      queue.current = undefined;
    }
    raft.holdCommitted(backlog.holds(replica));
    while (raft.hasReady()) this.#handleReady(replica, raft.takeReady());
    intake.staged(replica);
    replica.endTurn();
    this.#parts.heartbeats.afterInput(replica);
    if (!replica.isTicking && !raft.isQuiescent) this.#parts.ticking.start(replica);
  }

  /** Carries out one Ready in the order that the core's contract demands. */
  #handleReady(replica: Replica, ready: Ready): void {
    const { backlog } = this.#parts;
    const { log } = replica;
    if (ready.state !== undefined) this.#changeState(replica, ready.state);
    const first = ready.entries[0];
    if (first !== undefined) {
      // A suffix that is being replaced was never committed, so never applied: it cannot be in the engine.
      if (first.index <= replica.consistentAtIndex) {
        replica.consistentAtIndex = Math.max(first.index - 1, 0) as typeof first.index;
      }
      log.append(ready.entries);
    }
    if (ready.hardState !== undefined) log.setHardState(ready.hardState);
    for (const message of ready.messages) this.#post(replica, message);
    if (ready.mustSync || replica.unsyncedReadies > 0) {
      replica.unsyncedReadies += 1;
      this.#group.push({ replica, sequence: ready.sequence, messages: ready.messagesAfterPersist });
    } else {
      for (const message of ready.messagesAfterPersist) this.#post(replica, message);
      replica.raft.persisted(ready.sequence);
    }
    if (ready.committed.length > 0) {
      replica.machine?.committed?.(ready.committed);
      backlog.enqueue(replica, ready.committed);
      if (backlog.holds(replica)) replica.raft.holdCommitted(true);
    }
    for (const read of ready.reads) {
      if (read.refused) replica.reads.refuse(read.context);
      else replica.reads.confirm(read.context, read.index, replica.appliedIndex);
    }
    for (const load of ready.loads) this.#load(replica, load);
    if (ready.snapshot !== undefined) this.#parts.installations.begin(replica, ready.snapshot);
  }

  #changeState(replica: Replica, state: { role: string; leaderId: ReplicaId; term: Term }): void {
    const wasLeader = replica.isLeader;
    const isNewTerm = replica.term !== state.term;
    replica.isLeader = state.role === 'leader';
    replica.leaderReplicaId = state.leaderId;
    replica.term = state.term;
    if (wasLeader && (!replica.isLeader || isNewTerm)) {
      replica.thaw();
      replica.reads.refuseAll();
      replica.loseWaiters();
      if (replica.isReadyLeader) {
        replica.isReadyLeader = false;
        replica.machine?.leadershipLost();
      }
    }
    this.#parts.leadership.stateChanged(replica);
  }

  #post(replica: Replica, message: Message): void {
    if (message.type === 'snapshot') {
      this.#parts.sender.request(replica, message);
      return;
    }
    const store = replica.storeOf(message.to);
    if (store === 0) return;
    this.#parts.links.post(store, replica.rangeId, message, hintFor(replica, message));
  }

  /** Brings entries that were evicted from memory back, for a follower that is behind or for the applier. */
  #load(replica: Replica, load: Ready['loads'][number]): void {
    const use = (): Promise<void> | undefined => {
      if (replica.isClosed) return undefined;
      replica.raft.entriesLoaded(load.to);
      this.#parts.queue.enqueue(replica);
      // Until the core has taken them: other loads would throw them out.
      return replica.nextTurn();
    };
    replica.log.load(load.from, load.toExclusive, load.bytesMax, use).catch(this.#parts.life.fatal);
  }

  #startSync(): void {
    if (this.#group.length === 0) return;
    const group = this.#group;
    this.#group = [];
    const { life, log } = this.#parts;
    log.sync().then(() => {
      this.#finishSync(group);
    }, life.fatal);
  }

  #finishSync(group: readonly SyncItem[]): void {
    if (this.#parts.life.isOver) return;
    for (const { replica, sequence, messages } of group) {
      replica.unsyncedReadies -= 1;
      assert(replica.unsyncedReadies >= 0, 'more syncs finished than begun');
      if (replica.isClosed) continue;
      for (const message of messages) this.#post(replica, message);
      replica.raft.persisted(sequence);
      if (replica.raft.hasReady()) this.#parts.queue.enqueue(replica);
    }
    this.run();
  }
}

/**
 * Messages that may meet a store without the replica say where the range begins; the frequent ones stay
 * small.
 */
function hintFor(replica: Replica, message: Message): RangeHint | undefined {
  const opensTheWay =
    message.type === 'heartbeat' ||
    message.type === 'vote' ||
    message.type === 'pre-vote' ||
    (message.type === 'append' && message.entries.length === 0);
  const descriptor = replica.descriptorOrUndefined;
  if (!opensTheWay || descriptor === undefined) return undefined;
  // Only a member may be brought into existence.
  if (!descriptor.replicas.some((member) => member.replicaId === message.to)) return undefined;
  return { startKey: descriptor.startKey, confVersion: descriptor.epoch.confVersion };
}
