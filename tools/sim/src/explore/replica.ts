import { InvariantError, type LogIndex, type ReplicaId, type Term } from '@cairn/base';
import {
  defaultRaftConfig,
  EntryKind,
  RaftNode,
  type Entry,
  type Message,
  type RaftConfig,
  type Ready,
} from '@cairn/raft';
import { entryText, fingerprintOf, MemoryRaftStorage, NO_CONTACT } from '@cairn/raft/testing';

import type { Bounds } from './bounds.js';

const STARTED_AT_MS = 1_000;

/** What may happen at a replica besides a message. */
export type LocalInput =
  | { readonly type: 'timeout' | 'heartbeat' | 'sync' | 'crash' | 'propose' }
  /** A read is asked for while `floor` is the largest index that anybody has seen committed. */
  | { readonly type: 'read'; readonly floor: number };
export type Input = LocalInput | { readonly type: 'message'; readonly message: Message };

/** An entry that was handed out for applying, and in which term of the replica. */
export interface Handed {
  readonly entry: Entry;
  readonly inTerm: number;
}

/** A Ready that waits for its sync, and what is said then. */
interface Unsynced {
  readonly ready: Ready;
  /** By text: the network doubles messages anyway. */
  readonly said: Map<string, Message>;
  /** Later Readies up to this one need no sync of their own. */
  through: number;
}

/** The message as it were if each replica had the id that `ids` has at the place of its own. */
export function relabelled(message: Message, ids: readonly number[]): Message {
  const idOf = (id: number): ReplicaId => ids[id - 1] as ReplicaId;
  const renamed = { ...message, from: idOf(message.from), to: idOf(message.to) };
  if (renamed.type !== 'append') return renamed;
  const entries = renamed.entries.map((entry) => {
    const [proposer, ...rest] = entry.payload;
    const payload = proposer === undefined ? entry.payload : new Uint8Array([idOf(proposer), ...rest]);
    return { ...entry, payload };
  });
  return { ...renamed, entries };
}

/** What the bounds of all replicas together count. */
export const COUNTED = ['timeout', 'heartbeat', 'crash', 'read'] as const;
export type Counted = (typeof COUNTED)[number];

/** One message, by what it says. */
export function messageText(message: Message): string {
  const { entries, ...rest } = { entries: [] as readonly Entry[], ...message };
  return `${JSON.stringify(rest)}${entries.map(entryText).join()}`;
}

/**
 * A replica with its log and a host that does what the README of the core says, and nothing of its own: its
 * state is a function of the inputs that it was given. What it ever said is part of its state, because the
 * network may deliver it at any time, never, or more than once.
 */
export class ExploredReplica {
  readonly id: ReplicaId;
  readonly #voters: readonly ReplicaId[];
  readonly #config: RaftConfig;
  readonly storage = new MemoryRaftStorage();
  node: RaftNode;
  /** Everything that it ever sent, by text. */
  readonly sent = new Map<string, Message>();
  /** Everything that it ever handed out, by index: its past lives agree with the present one. */
  readonly handed = new Map<number, Handed>();
  /** Terms that it led. */
  readonly led = new Set<number>();
  /** Whom it voted for, by term. */
  readonly promises = new Map<number, ReplicaId>();
  readonly counts: Record<Counted, number> = { timeout: 0, heartbeat: 0, crash: 0, read: 0 };
  /** Reads that wait for their answer: the index that each has to reach. */
  readonly #reads = new Map<number, number>();
  #unsynced: Unsynced[] = [];
  #applied = 0;
  #nowMs = STARTED_AT_MS;
  #proposals = 0;
  readonly #hasPreVotes: boolean;

  constructor(id: number, bounds: Bounds) {
    this.#hasPreVotes = bounds.hasPreVotes;
    this.id = id as ReplicaId;
    this.#voters = Array.from({ length: bounds.nodes }, (_, at) => (at + 1) as ReplicaId);
    this.#config = { ...defaultRaftConfig(this.id), electionJitterMs: 0 };
    this.node = this.#start(true);
  }

  #start(isInitial: boolean): RaftNode {
    return new RaftNode({
      config: this.#config,
      storage: this.storage,
      contact: NO_CONTACT,
      hardState: this.storage.hardState,
      appliedIndex: 0 as LogIndex,
      configState: { voters: this.#voters, outgoing: [], learners: [], learnersNext: [] },
      random: () => 0,
      startedAtMs: this.#nowMs,
      isInitial,
    });
  }

  /** Everything that decides what comes next, and everything that checkers look at. */
  fingerprint(): string {
    const { hardState, entries } = this.storage.durable;
    const visible = this.storage.hardState;
    return [
      fingerprintOf(this.node),
      `${hardState?.term} ${hardState?.vote} ${hardState?.commit} ${entries.map(entryText).join()}`,
      `${visible?.term} ${visible?.vote} ${visible?.commit} ${this.#applied} ${this.#proposals}`,
      this.#unsynced.map(unsyncedText).join(';'),
      [...this.sent.keys()].sort().join(';'),
      [...this.handed.values()].map(({ entry, inTerm }) => `${entryText(entry)}@${inTerm}`).join(),
      `${[...this.led].join()} ${[...this.promises].join()} ${[...this.#reads].join()}`,
      COUNTED.map((what) => this.counts[what]).join(),
    ].join('\n');
  }

  get log(): readonly Entry[] {
    const last = this.storage.lastIndex();
    if (last === 0) return [];
    const entries = this.storage.entries(1 as LogIndex, (last + 1) as LogIndex, Infinity);
    return typeof entries === 'string' ? [] : entries;
  }

  /** Whether the input can mean anything here now. */
  accepts(type: LocalInput['type'], bounds: Bounds): boolean {
    const isLeader = this.node.role === 'leader';
    switch (type) {
      case 'sync':
        return this.#unsynced.length > 0;
      case 'propose':
        return isLeader && this.storage.lastIndex() < bounds.entries;
      case 'heartbeat':
        return isLeader;
      case 'crash':
        // Of one that has promised nothing yet it is nothing new.
        return this.storage.hardState !== undefined;
      case 'read':
        return isLeader;
      case 'timeout':
        return true;
    }
  }

  /** Throws when the core or this host finds a contradiction. */
  apply(input: Input): void {
    switch (input.type) {
      case 'message':
        if (input.message.type === 'vote') this.#outlastHold(input.message.term);
        this.#step(input.message);
        break;
      case 'timeout':
        this.#count('timeout');
        this.#pass(this.#config.electionTimeoutMs, 2);
        if (!this.#hasPreVotes) this.#grantPreVotes();
        break;
      case 'heartbeat':
        this.#count('heartbeat');
        this.#pass(this.#config.heartbeatIntervalMs, 1);
        break;
      case 'sync':
        this.#syncOldest();
        break;
      case 'crash':
        this.#count('crash');
        this.#crash();
        break;
      case 'propose':
        this.#proposals += 1;
        this.node.propose(new Uint8Array([this.id, this.#proposals]));
        break;
      case 'read': {
        // A forwarded one that is doubled starts a round each time, without end.
        if (this.node.role !== 'leader') break;
        this.#count('read');
        const context = this.counts.read;
        if (this.node.readIndex(context)) this.#reads.set(context, input.floor);
        break;
      }
    }
    this.#drain();
  }

  #count(what: Counted): void {
    this.counts[what] += 1;
  }

  /** In steps that no replica takes for a pause of its process. */
  #pass(ms: number, steps: number): void {
    for (let step = 0; step < steps; step += 1) {
      this.#nowMs += ms / steps;
      this.node.tick(this.#nowMs);
    }
  }

  /** Nobody lies here: a message that no replica can have sent is a contradiction like any other. */
  #step(message: Message): void {
    const refusal = this.node.step(message, this.#nowMs);
    if (refusal !== undefined) throw new InvariantError(refusal, { type: message.type });
  }

  /**
   * Holding votes makes leases; the rules that are checked here must do without. A request for a vote in a
   * newer term finds the hold over, unless it is lost.
   */
  #outlastHold(term: Term): void {
    if (this.node.role !== 'leader' && term > this.node.term) this.#nowMs += this.#config.voteHoldMs;
  }

  #grantPreVotes(): void {
    for (const from of this.#voters) {
      if (this.node.role !== 'pre-candidate') return;
      const term = (this.node.term + 1) as Term;
      const granted = { type: 'pre-vote-response', from, to: this.id, term, granted: true } as const;
      if (from !== this.id) this.#step(granted);
    }
  }

  #crash(): void {
    this.storage.crash();
    this.#unsynced = [];
    this.#reads.clear();
    this.#applied = 0;
    this.node = this.#start(false);
  }

  /** What the host does with each Ready; see the README of the core. */
  #drain(): void {
    while (this.node.hasReady()) {
      const ready = this.node.takeReady();
      this.storage.stage(ready);
      for (const message of ready.messages) this.#send(message);
      this.#wait(ready);
      if (ready.state?.role === 'leader') this.#lead();
      for (const { context, index, refused } of ready.reads) this.#answerRead(context, index, refused);
      this.#hand(ready.committed);
    }
  }

  /** A Ready that needs no sync of its own is done together with the one before it. */
  #wait(ready: Ready): void {
    const said = ready.messagesAfterPersist.map((message) => [messageText(message), message] as const);
    const last = this.#unsynced.at(-1);
    if (ready.mustSync) {
      this.#unsynced.push({ ready, said: new Map(said), through: ready.sequence });
    } else if (last !== undefined) {
      for (const [text, message] of said) last.said.set(text, message);
      last.through = ready.sequence;
    } else {
      for (const [, message] of said) this.#send(message);
      this.node.persisted(ready.sequence);
    }
  }

  #syncOldest(): void {
    const oldest = this.#unsynced.shift();
    if (oldest === undefined) return;
    this.storage.sync(oldest.ready.sequence);
    for (const message of oldest.said.values()) this.#send(message);
    this.node.persisted(oldest.through);
  }

  #lead(): void {
    this.led.add(this.node.term);
    const { hardState } = this.storage.durable;
    const isDurable = hardState?.term === this.node.term && hardState.vote === this.id;
    check(isDurable, `vote durability: ${this.id} leads before its own vote is durable`);
    this.#promise(this.node.term, this.id);
  }

  #promise(term: Term, candidate: ReplicaId): void {
    const known = this.promises.get(term) ?? candidate;
    check(
      known === candidate,
      `vote durability: ${this.id} voted for ${known} and ${candidate} in term ${term}`,
    );
    this.promises.set(term, candidate);
  }

  /** What leaves is a promise about the disk where it says so. */
  #send(message: Message): void {
    if (message.type === 'pre-vote' && !this.#hasPreVotes) return;
    const { hardState, entries } = this.storage.durable;
    if (message.type === 'vote-response' && message.granted) {
      const isDurable = hardState?.term === message.term && hardState.vote === message.to;
      check(isDurable, `vote durability: ${this.id} tells a vote that is not durable`);
      this.#promise(message.term, message.to);
    }
    if (message.type === 'append-response' && !message.rejected && message.term === this.node.term)
      check(message.index <= entries.length, `${this.id} acknowledges entries that are not durable`);
    if (message.type !== 'pre-vote' && !(message.type === 'pre-vote-response' && message.granted))
      check(
        message.type === 'vote' || (hardState?.term ?? 0) >= message.term,
        `${this.id} tells a term that is not durable`,
      );
    this.sent.set(messageText(message), message);
  }

  #answerRead(context: number, index: number, isRefused: boolean): void {
    const floor = this.#reads.get(context);
    this.#reads.delete(context);
    if (floor === undefined || isRefused) return;
    check(index >= floor, `a read at ${this.id} may miss what was committed: ${index}, committed ${floor}`);
  }

  #hand(committed: readonly Entry[]): void {
    const { entries } = this.storage.durable;
    for (const entry of committed) {
      check(entry.index === this.#applied + 1, `${this.id} hands out ${entry.index} after ${this.#applied}`);
      const own = entries[entry.index - 1];
      const isDurable = own !== undefined && entryText(own) === entryText(entry);
      check(isDurable, `${this.id} hands out entry ${entry.index}, which is not durable there`);
      const known = this.handed.get(entry.index);
      if (known === undefined) this.handed.set(entry.index, { entry, inTerm: this.node.term });
      else
        check(entryText(known.entry) === entryText(entry), `${this.id} hands out two entries ${entry.index}`);
      this.#applied = entry.index;
      if (entry.kind === EntryKind.config) this.node.applyConfigChange(entry.payload);
    }
    if (committed.length > 0) this.node.applied(this.#applied as LogIndex);
  }
}

function check(condition: boolean, message: string): void {
  if (!condition) throw new InvariantError(message);
}

function unsyncedText({ ready, said }: Unsynced): string {
  const { hardState, entries } = ready;
  const hard = hardState === undefined ? '' : `${hardState.term} ${hardState.vote} ${hardState.commit}`;
  return [hard, entries.map(entryText).join(), ...[...said.keys()].sort()].join(' ');
}
