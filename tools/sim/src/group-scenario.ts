import type { ReplicaId } from '@cairn/base';
import type { ConfigChange, ConfigOperation, Message } from '@cairn/raft';
import { SimRng } from '@cairn/runtime-sim';

import { GroupChecker } from './checkers/group.js';
import { GroupMember, type GroupTiming } from './group-member.js';
import { Observer, type Violation } from './observer.js';

const DURATION_MS = 12_000;
/** Members that a group may have had, one after the other; ids are never used again. */
const MEMBERS_MAX = 9;
const FAULTS_EVERY_MS = 120;
/** Commits are compared with what is durable at every so many steps. */
const LOOK_AT_COMMITS_STEPS = 3;
/** Entries kept in front of what is applied when a log is cut. */
const KEPT_ENTRIES = 3;

const SHORT_TIMING = {
  electionTimeoutMs: 60,
  electionJitterMs: 10,
  heartbeatIntervalMs: 20,
  leaseDurationMs: 40,
  voteHoldMs: 50,
};

interface InFlight {
  readonly message: Message;
  readonly dueMs: number;
}

interface Planned {
  readonly dueMs: number;
  readonly strike: () => void;
}

export interface GroupScenarioResult {
  readonly seed: string;
  readonly violations: readonly Violation[];
  readonly virtualMs: number;
  readonly leaderships: number;
  readonly committed: number;
}

export interface GroupScenarioOptions {
  readonly seed: string;
  /** Default 12,000. */
  readonly durationMs?: number;
  /** By how much campaigns may differ in length. Default: drawn from the seed. */
  readonly electionJitterMs?: number;
}

/**
 * One group of the consensus core alone, over a network that loses, repeats, delays and reorders single
 * messages, which connections never do: what has to be true of the core whatever carries its messages.
 * Members crash and lose what was not synced, stop for a while, are cut off, come and go by membership
 * changes; logs are cut, leaders are asked to hand over. Ends at the first violation.
 */
export function runGroupScenario(options: GroupScenarioOptions): GroupScenarioResult {
  const run = new GroupRun(options);
  run.play(options.durationMs ?? DURATION_MS);
  return run.result();
}

class GroupRun {
  readonly #seed: string;
  readonly #rng: SimRng;
  readonly #members = new Map<ReplicaId, GroupMember>();
  readonly #checker: GroupChecker;
  readonly #observer: Observer;
  readonly #timing: GroupTiming;
  readonly #lossChance: number;
  readonly #slowChance: number;
  readonly #slowVoteChance: number;
  readonly #changesMembers: boolean;
  readonly #slowSyncChance: number;
  #network: InFlight[] = [];
  /** Members on one side of a partition; empty = none. */
  #side = new Set<ReplicaId>();
  #nowMs = 0;
  #nextFaultMs = 0;
  #isBusy = true;
  #steps = 0;
  /** Some members know that the configuration is joint. */
  #isJoint = false;
  /** Strikes that follow from an earlier one. */
  #planned: Planned[] = [];
  #proposals = 0;
  #lastId = 0;

  constructor({ seed, electionJitterMs }: GroupScenarioOptions) {
    this.#seed = seed;
    this.#rng = new SimRng(seed).fork('group');
    const rng = this.#rng;
    this.#observer = new Observer(() => this.#nowMs);
    this.#checker = new GroupChecker(this.#observer);
    // Half of the runs have timeouts that are short beside the delays, so that elections compete; some have
    // appends of one entry each.
    this.#timing = {
      ...(rng.chance(0.5) ? SHORT_TIMING : {}),
      ...(rng.chance(0.2) ? { appendBytesMax: 1 } : {}),
      ...(electionJitterMs === undefined ? {} : { electionJitterMs }),
    };
    this.#slowSyncChance = rng.pick([0.03, 0.3]);
    this.#lossChance = rng.pick([0, 0.02, 0.1]);
    this.#slowChance = rng.pick([0, 0.02, 0.1]);
    // A vote that comes late is asked of somebody who has promised his to another meanwhile.
    this.#slowVoteChance = rng.pick([0, 0.5]);
    this.#changesMembers = rng.chance(0.5);
    const count = rng.pick([3, 3, 5]);
    const voters = Array.from({ length: count }, (_, at) => (at + 1) as ReplicaId);
    for (const id of voters) this.#add(id, voters);
  }

  #add(id: ReplicaId, voters: readonly ReplicaId[]): void {
    this.#lastId = Math.max(this.#lastId, id);
    const config = { voters, outgoing: [], learners: [], learnersNext: [] };
    this.#members.set(
      id,
      new GroupMember({
        id,
        config,
        timing: this.#timing,
        slowSyncChance: this.#slowSyncChance,
        rng: this.#rng.fork(`member-${id}`),
        nowMs: () => this.#nowMs,
        send: (message) => {
          this.#send(message);
        },
        checker: this.#checker,
      }),
    );
  }

  play(durationMs: number): void {
    try {
      while (this.#nowMs < durationMs && this.#observer.violations.length === 0) this.#step();
    } catch (error) {
      this.#observer.violate('exception', error instanceof Error ? (error.stack ?? '') : String(error));
    }
  }

  #step(): void {
    const rng = this.#rng;
    this.#nowMs += rng.between(0.2, 2);
    this.#deliverDue();
    this.#runPlanned();
    const terms = this.#checker.leaderships;
    for (const member of this.#members.values()) member.run();
    if (this.#checker.leaderships > terms && rng.chance(0.4)) this.#disturbElection();
    if (this.#changesMembers) this.#watchMembers();
    if (this.#isBusy && rng.chance(0.2)) this.#propose();
    if (rng.chance(0.1)) this.#pick().read();
    if (this.#nowMs >= this.#nextFaultMs) {
      this.#nextFaultMs = this.#nowMs + rng.next() * 2 * FAULTS_EVERY_MS;
      // While nothing is written also those who were cut off have all there is, and may be elected.
      this.#isBusy = rng.chance(0.5);
      this.#strike();
    }
    this.#checker.look(this.#members.values());
    this.#steps += 1;
    if (this.#steps % LOOK_AT_COMMITS_STEPS === 0) this.#checker.lookAtCommits(this.#members.values());
  }

  #pick(): GroupMember {
    return this.#rng.pick([...this.#members.values()]);
  }

  #send(message: Message): void {
    const rng = this.#rng;
    if (message.type !== 'snapshot' && rng.chance(this.#lossChance)) return;
    const copies = rng.chance(this.#lossChance) && message.type !== 'snapshot' ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      const slow = message.type === 'vote' ? this.#slowVoteChance : this.#slowChance;
      const slowest = 1.5 * (this.#timing.electionTimeoutMs ?? 600);
      const delayMs = rng.chance(slow) ? rng.between(1, slowest) : rng.between(0.2, 6);
      this.#network.push({ message: { ...message }, dueMs: this.#nowMs + delayMs });
    }
  }

  #deliverDue(): void {
    const due = this.#network.filter(({ dueMs }) => dueMs <= this.#nowMs);
    if (due.length === 0) return;
    this.#network = this.#network.filter(({ dueMs }) => dueMs > this.#nowMs);
    due.sort((one, other) => one.dueMs - other.dueMs);
    for (const { message } of due) {
      const isCut = this.#side.has(message.from) !== this.#side.has(message.to) && this.#side.size > 0;
      const arrived = !isCut && this.#members.get(message.to)?.receive(message) === true;
      if (message.type === 'snapshot') this.#members.get(message.from)?.snapshotSent(message.to, arrived);
    }
  }

  #leader(): GroupMember | undefined {
    const leaders = [...this.#members.values()].filter((member) => member.isLeader);
    return leaders.length === 0 ? undefined : this.#rng.pick(leaders);
  }

  #propose(): void {
    this.#proposals += 1;
    this.#leader()?.propose(Buffer.from(`${this.#proposals}`));
  }

  #strike(): void {
    const rng = this.#rng;
    const member = rng.chance(0.4) ? (this.#leader() ?? this.#pick()) : this.#pick();
    switch (rng.integer(12)) {
      case 0:
      case 1:
        member.crash(rng.pick([1, 20, 200, 800]));
        return;
      case 2:
        member.pause(rng.pick([5, 100, 900]));
        return;
      case 3:
        this.#cutOff([...this.#members.keys()].filter(() => rng.chance(0.4)));
        return;
      case 4:
        this.#cutOff(rng.chance(0.5) ? [] : [member.id]);
        return;
      case 5:
        this.#leader()?.transfer(rng.pick([...this.#members.keys()]));
        return;
      case 6:
        member.compact(KEPT_ENTRIES);
        return;
      case 7:
        this.#leader()?.crash(rng.pick([1, 20]));
        this.#cutOff([member.id]);
        return;
      case 8:
      case 9:
        this.#besiege();
        return;
      case 10:
        this.#handOverAndVanish();
        return;
      default:
        this.#swapSides();
    }
  }

  /** Nothing else strikes before. */
  #plan(delayMs: number, strike: () => void): void {
    const dueMs = this.#nowMs + delayMs;
    this.#planned.push({ dueMs, strike });
    this.#nextFaultMs = Math.max(this.#nextFaultMs, dueMs + 1);
  }

  #runPlanned(): void {
    const due = this.#planned.filter(({ dueMs }) => dueMs <= this.#nowMs);
    if (due.length === 0) return;
    this.#planned = this.#planned.filter(({ dueMs }) => dueMs > this.#nowMs);
    for (const { strike } of due) strike();
  }

  /**
   * One member is cut off until it promises nothing to anybody any more, while nothing is written that it
   * would miss. Then it comes back to members that have forgotten what they had in memory, without leader.
   */
  #besiege(): void {
    const leader = this.#leader();
    const away = this.#pick();
    if (leader === undefined || away === leader) return;
    this.#isBusy = false;
    this.#cutOff([away.id]);
    this.#plan(this.#rng.between(1, 1.3) * (this.#timing.electionTimeoutMs ?? 600), () => {
      if (this.#leader() !== leader) return;
      const forgets = this.#rng.chance(0.5);
      this.#cutOff([leader.id]);
      for (const member of this.#members.values()) {
        if (member === leader) continue;
        if (forgets && member !== away) member.crash(1);
        else member.loseLeader();
      }
    });
  }

  /** A leader is gone as soon as it has told another to take over. */
  #handOverAndVanish(): void {
    const leader = this.#leader();
    if (leader === undefined) return;
    this.#isBusy = false;
    leader.transfer(this.#rng.pick([...this.#members.keys()]));
    this.#plan(this.#rng.between(1, 8), () => {
      this.#cutOff([leader.id]);
    });
  }

  /** From now on these hear nothing of the others. Connections break; half of the time that is noticed. */
  #cutOff(ids: readonly ReplicaId[]): void {
    this.#side = new Set(ids);
    if (ids.length === 0 || this.#rng.chance(0.5)) return;
    for (const member of this.#members.values()) {
      if (this.#side.has(member.leaderId) !== this.#side.has(member.id)) member.loseLeader();
    }
  }

  /** A voter loses its memory right after it gave its vote, mostly before it hears from the new leader. */
  #disturbElection(): void {
    const leader = this.#leader();
    const voter = this.#pick();
    if (leader === undefined || voter === leader) return;
    voter.crash(1);
    if (this.#rng.chance(0.7)) this.#cutOff([leader.id]);
  }

  /**
   * Who was cut off comes back, the leader is cut off instead, and the others forget what they only had in
   * memory.
   */
  #swapSides(): void {
    const leader = this.#leader();
    if (leader === undefined || this.#side.has(leader.id)) {
      this.#side.clear();
      return;
    }
    for (const member of this.#members.values()) {
      if (member !== leader && !this.#side.has(member.id)) member.crash(1);
    }
    this.#cutOff([leader.id]);
  }

  /** Members change, and are cut apart where only some know that the change has begun. */
  #watchMembers(): void {
    if (this.#rng.chance(0.03)) this.#changeMembers();
    const knowing = [...this.#members.values()].filter(({ config }) => config.outgoing.length > 0);
    const hasBegun = knowing.length > 0 && !this.#isJoint;
    this.#isJoint = knowing.length > 0;
    const [first] = knowing;
    if (!hasBegun || first === undefined || !this.#rng.chance(0.4)) return;
    const { voters, outgoing } = first.config;
    const added = voters.filter((id) => !outgoing.includes(id));
    if (this.#rng.chance(0.5)) first.crash(1);
    this.#cutOff([...knowing.map(({ id }) => id), ...added]);
    this.#plan(this.#rng.between(100, 2_000), () => {
      this.#side.clear();
    });
  }

  #changeMembers(): void {
    const leader = this.#leader();
    if (leader === undefined) return;
    leader.proposeChange(this.#drawChange(leader));
  }

  /** Any change, also ones that the core must refuse. */
  #drawChange(leader: GroupMember): ConfigChange {
    const rng = this.#rng;
    const { voters, learners } = leader.config;
    const operations: ConfigOperation[] = [];
    const learner = learners.length > 0 ? rng.pick(learners) : undefined;
    if (learner !== undefined && rng.chance(0.7)) operations.push({ type: 'add-voter', replicaId: learner });
    if (voters.length > 1 && rng.chance(0.5))
      operations.push({ type: rng.chance(0.8) ? 'add-learner' : 'remove', replicaId: rng.pick(voters) });
    if (operations.length === 0 && learner !== undefined && rng.chance(0.3))
      operations.push({ type: 'remove', replicaId: learner });
    if (operations.length === 0 && this.#lastId < MEMBERS_MAX) {
      const id = (this.#lastId + 1) as ReplicaId;
      this.#add(id, []);
      operations.push({ type: 'add-learner', replicaId: id });
    }
    return { operations, leaveJoint: false, context: new Uint8Array(0) };
  }

  result(): GroupScenarioResult {
    return {
      seed: this.#seed,
      violations: this.#observer.violations,
      virtualMs: this.#nowMs,
      leaderships: this.#checker.leaderships,
      committed: this.#checker.lastCommitted,
    };
  }
}
