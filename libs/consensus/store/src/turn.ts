import { assert, type ReplicaId, type Term } from '@cairn/base';
import type { Clock } from '@cairn/ports';
import type { Entry, Message, Ready } from '@cairn/raft';
import type { RaftLog } from '@cairn/raft-log';

import type { Applier } from './applier.js';
import type { PeerLinks, RangeHint } from './peer-links.js';
import type { Replica, ReplicaHost } from './replica.js';
import type { StoreConfig } from './store-config.js';
import type { StoreHeartbeats } from './store-heartbeats.js';
import type { StoreMetrics } from './store-metrics.js';

/** Readies that become durable with one write of the log. */
interface SyncItem {
  readonly replica: Replica;
  readonly sequence: number;
  readonly messages: readonly Message[];
}

export interface TurnLoopParts {
  readonly clock: Clock;
  readonly config: StoreConfig;
  readonly log: RaftLog;
  readonly links: PeerLinks;
  readonly metrics: StoreMetrics;
  /**
   * Works off what the sockets left in the store's inbound queue, through `step`, within the budget of a
   * turn. True when some is left.
   */
  drainInbound(startedMs: number): boolean;
  /** A snapshot was offered to the replica and accepted by its core. */
  installSnapshot(replica: Replica, ready: Ready): void;
  /** The core asks for a snapshot to be sent. */
  sendSnapshot(replica: Replica, message: Message & { type: 'snapshot' }): void;
  leadershipChanged(replica: Replica): void;
  guardLeases(nowMs: number): void;
  readonly heartbeats: StoreHeartbeats;
  /** The replica needs ticks. */
  startTicking(replica: Replica): void;
  /** It is quiescent, and needs none any more. */
  stopTicking(replica: Replica): void;
  /** The log cannot be written any more: the store must stop. */
  fatal(error: unknown): void;
}

/**
 * The store loop. Sockets, timers and finished writes only enqueue replicas; a turn steps every queued
 * replica, then writes one vector of log records for all of them with one sync, and sends one frame per peer
 * store. While that sync is in flight the next turn is computed; its records join the next write.
 *
 * Timeline: docs/timelines/write.md
 */
export class TurnLoop implements ReplicaHost {
  readonly #parts: TurnLoopParts;
  #applier: Applier | undefined;
  /** The first `#queued` wait for a turn. Two arrays take turns, and keep their memory. */
  #queue: (Replica | undefined)[] = [];
  #queued = 0;
  #spare: (Replica | undefined)[] = [];
  #isScheduled = false;
  #isRunning = false;
  #startedMs = 0;
  /** Payload bytes that cores took in and that are not in the log yet; with those there: `isLogBehind`. */
  #unstagedBytes = 0;
  #isStopped = false;
  /** Whose state machine has its turn; what it proposes is carried out right behind it. */
  #current: Replica | undefined;
  #group: SyncItem[] = [];
  #runAgain = false;

  constructor(parts: TurnLoopParts) {
    this.#parts = parts;
  }

  /** The applier and the loop need each other; the store connects them once. */
  connect(applier: Applier): void {
    this.#applier = applier;
  }

  enqueue(replica: Replica): void {
    if (!replica.isQueued && !replica.isClosed) {
      replica.isQueued = true;
      this.#push(replica);
    }
    this.schedule();
  }

  #push(replica: Replica): void {
    this.#queue[this.#queued] = replica;
    this.#queued += 1;
  }

  /**
   * The log's disk is behind: entries that are in no core yet are refused. What the cores took and did not
   * stage so far counts, too: one turn may take in a lot.
   */
  get isLogBehind(): boolean {
    const { log } = this.#parts;
    return log.stagedBytes + this.#unstagedBytes >= log.stagedBytesMax;
  }

  /** No entries are taken into any core now: the log's disk is behind, or the engine. */
  get isBehind(): boolean {
    return this.isLogBehind || this.#applier?.isBehind === true;
  }

  guardLeases(nowMs: number): void {
    this.#parts.guardLeases(nowMs);
  }

  /** A core took entries in; they are staged in the next turn of the replica. */
  tookIn(replica: Replica, bytes: number): void {
    replica.unstagedBytes += bytes;
    this.#unstagedBytes += bytes;
  }

  /** What the core had taken in is staged, or the replica is gone. */
  #staged(replica: Replica): void {
    this.#unstagedBytes -= replica.unstagedBytes;
    replica.unstagedBytes = 0;
  }

  proposed(replica: Replica): void {
    if (replica !== this.#current) this.enqueue(replica);
  }

  /**
   * Takes a message in. What follows from it is carried out in this turn, or in the next when none runs.
   * Answers why the core did not take it.
   */
  step(replica: Replica, message: Message): string | undefined {
    const nowMs = this.#isRunning ? this.#startedMs : this.#parts.clock.nowMs();
    const { raft } = replica;
    const bringsEntries = message.type === 'append' && message.entries.length > 0;
    // As if it were lost: the leader sends it again. Once the core has it, nobody can refuse it any more.
    if (bringsEntries && this.isBehind) {
      this.#parts.metrics.droppedMessage(this.isLogBehind ? 'log-behind' : 'engine-behind');
      return undefined;
    }
    const reason = raft.step(message, nowMs);
    if (reason !== undefined) return reason;
    this.#parts.heartbeats.afterInput(replica);
    if (raft.hasReady()) {
      if (bringsEntries) this.tookIn(replica, payloadBytesOf(message.entries));
      this.enqueue(replica);
    } else if (!replica.isTicking && !raft.isQuiescent) this.#parts.startTicking(replica);
    if (replica.isTicking && message.type === 'append-response' && raft.owesOnlyNotices)
      this.#settle(replica);
    return undefined;
  }

  /** Every member has everything: their stores hear the commit index, and no tick has to come for that. */
  #settle(replica: Replica): void {
    this.#parts.heartbeats.noteCommits(replica);
    if (replica.raft.isQuiescent) this.#parts.stopTicking(replica);
  }

  /** Asks for a turn after the events that are already waiting. */
  schedule(): void {
    if (this.#isScheduled || this.#isStopped) return;
    this.#isScheduled = true;
    this.#parts.clock.defer(() => {
      this.#isScheduled = false;
      this.run();
    });
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** One turn. Also called directly when a write finished, to save the round through the event loop. */
  run(): void {
    if (this.#isStopped) return;
    if (this.#isRunning) {
      this.#runAgain = true;
      return;
    }
    this.#isRunning = true;
    try {
      do {
        this.#runAgain = false;
        this.#runOnce();
      } while (this.#runAgain && !this.#isStopped);
    } catch (error) {
      this.#parts.fatal(error);
    } finally {
      this.#isRunning = false;
    }
  }

  #runOnce(): void {
    const { clock, config, links, metrics } = this.#parts;
    const startedMs = clock.nowMs();
    this.#startedMs = startedMs;
    const hasInbound = this.#parts.drainInbound(startedMs);
    const working = this.#queue;
    const waiting = this.#queued;
    this.#queue = this.#spare;
    this.#queued = 0;
    let done = 0;
    for (; done < waiting && done < config.replicasPerTurnMax; done += 1) {
      // Looking at the clock costs; every sixteenth replica is often enough for a budget of milliseconds.
      if ((done & 15) === 15 && clock.nowMs() - startedMs > config.turnBudgetMs) break;
      this.#process(working[done] as Replica, startedMs);
    }
    for (let left = done; left < waiting; left += 1) this.#push(working[left] as Replica);
    working.fill(undefined, 0, waiting);
    this.#spare = working;
    links.flush();
    this.#startSync();
    this.#applier?.kick();
    metrics.turn(clock.nowMs() - startedMs, done);
    if (this.#queued > 0 || hasInbound) this.schedule();
  }

  #process(replica: Replica, nowMs: number): void {
    replica.isQueued = false;
    if (replica.isClosed) {
      this.#staged(replica);
      replica.endTurn();
      return;
    }
    const { raft, machine } = replica;
    if (machine?.turn !== undefined) {
      this.#current = replica;
      machine.turn(nowMs);
      this.#current = undefined;
    }
    raft.holdCommitted(this.#applier?.holds(replica) === true);
    while (raft.hasReady()) this.#handleReady(replica, raft.takeReady());
    this.#staged(replica);
    replica.endTurn();
    this.#parts.heartbeats.afterInput(replica);
    if (!replica.isTicking && !raft.isQuiescent) this.#parts.startTicking(replica);
  }

  /** Carries out one Ready in the order that the core's contract demands. */
  #handleReady(replica: Replica, ready: Ready): void {
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
      this.#applier?.enqueue(replica, ready.committed);
      if (this.#applier?.holds(replica) === true) replica.raft.holdCommitted(true);
    }
    for (const read of ready.reads) {
      if (read.refused) replica.reads.refuse(read.context);
      else replica.reads.confirm(read.context, read.index, replica.appliedIndex);
    }
    for (const load of ready.loads) this.#load(replica, load);
    if (ready.snapshot !== undefined) this.#parts.installSnapshot(replica, ready);
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
    this.#parts.leadershipChanged(replica);
  }

  #post(replica: Replica, message: Message): void {
    if (message.type === 'snapshot') {
      this.#parts.sendSnapshot(replica, message);
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
      this.enqueue(replica);
      // Until the core has taken them: other loads would throw them out.
      return replica.nextTurn();
    };
    replica.log.load(load.from, load.toExclusive, load.bytesMax, use).catch((error: unknown) => {
      this.#parts.fatal(error);
    });
  }

  #startSync(): void {
    if (this.#group.length === 0) return;
    const group = this.#group;
    this.#group = [];
    this.#parts.log.sync().then(
      () => {
        this.#finishSync(group);
      },
      (error: unknown) => {
        this.#parts.fatal(error);
      },
    );
  }

  #finishSync(group: readonly SyncItem[]): void {
    if (this.#isStopped) return;
    for (const { replica, sequence, messages } of group) {
      replica.unsyncedReadies -= 1;
      assert(replica.unsyncedReadies >= 0, 'more syncs finished than begun');
      if (replica.isClosed) continue;
      for (const message of messages) this.#post(replica, message);
      replica.raft.persisted(sequence);
      if (replica.raft.hasReady()) this.enqueue(replica);
    }
    this.run();
  }
}

function payloadBytesOf(entries: readonly Entry[]): number {
  let bytes = 0;
  for (const entry of entries) bytes += entry.payload.length;
  return bytes;
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
