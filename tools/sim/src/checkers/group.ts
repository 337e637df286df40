import type { LogIndex, ReplicaId } from '@cairn/base';
import { CommitWatch, LeaderTerms, type SeenReplica } from '@cairn/checkers';
import type { Entry, RaftStorage, SnapshotMeta } from '@cairn/raft';

import type { Observer } from '../observer.js';

/** What is looked at of a member. */
export interface WatchedMember {
  readonly id: ReplicaId;
  readonly storage: RaftStorage;
  readonly appliedIndex: LogIndex;
  readonly term: number;
  readonly isLeader: boolean;
  /** It may answer reads from its own state now. */
  readonly servesAlone: boolean;
  readonly seen: SeenReplica;
}

interface Committed {
  readonly entry: Entry;
  /** Leaders of later terms must have it. */
  readonly byTerm: number;
}

/** What must hold of one group of the core, judged while it runs. */
export class GroupChecker {
  readonly #observer: Observer;
  readonly #terms = new LeaderTerms();
  readonly #commits = new CommitWatch();
  readonly #committed = new Map<number, Committed>();
  readonly #proposed = new Map<string, WatchedMember>();
  /** Reads that were asked for, with what had been acknowledged by then. */
  readonly #reads = new Map<string, number>();
  #acknowledged = 0;
  lastCommitted = 0;

  constructor(observer: Observer) {
    this.#observer = observer;
  }

  get leaderships(): number {
    return this.#terms.count;
  }

  /** One leader per term; and it has everything that was committed in the terms before. */
  leads(member: WatchedMember, term: number): void {
    const fault = this.#terms.took('the group', term, String(member.id));
    if (fault !== undefined) this.#observer.violate('one-leader-per-term', fault);
    for (let index = this.lastCommitted; index >= member.storage.firstIndex(); index -= 1) {
      const known = this.#committed.get(index);
      if (known === undefined || known.byTerm >= term) continue;
      const found = index > member.storage.lastIndex() ? 'nothing' : member.storage.termOf(index as never);
      if (found !== known.entry.term) {
        const at = `entry ${index} of term ${known.entry.term}`;
        this.#observer.violate('leader-completeness', `${member.id} in term ${term} lacks ${at}: ${found}`);
      }
      return;
    }
  }

  proposed(member: WatchedMember, entry: { readonly index: number; readonly term: number }): void {
    this.#proposed.set(`${entry.index}/${entry.term}`, member);
  }

  /** All members apply the same entries in the same order; none twice. */
  applied(member: WatchedMember, entry: Entry): void {
    if (entry.index !== member.appliedIndex + 1) {
      const after = `${entry.index} after ${member.appliedIndex}`;
      this.#observer.violate('state-machine-safety', `${member.id} applies ${after}`);
    }
    const known = this.#committed.get(entry.index);
    if (known === undefined) {
      this.#committed.set(entry.index, { entry, byTerm: member.term });
      this.lastCommitted = Math.max(this.lastCommitted, entry.index);
    } else if (known.entry.term !== entry.term || Buffer.compare(known.entry.payload, entry.payload) !== 0) {
      const both = `of term ${known.entry.term} and of term ${entry.term}`;
      this.#observer.violate('state-machine-safety', `two entries committed at ${entry.index}: ${both}`);
    }
    const isOwn = this.#proposed.get(`${entry.index}/${entry.term}`) === member;
    if (isOwn && member.isLeader && member.term === entry.term) {
      this.#acknowledged = Math.max(this.#acknowledged, entry.index);
    }
  }

  /** A snapshot ends at an entry that was committed. */
  installed(member: WatchedMember, meta: SnapshotMeta): void {
    const known = this.#committed.get(meta.index);
    if (known?.entry.term === meta.term) return;
    const found = known === undefined ? 'nothing' : `term ${known.entry.term}`;
    const said = `${meta.index} of term ${meta.term}`;
    this.#observer.violate('state-machine-safety', `${member.id} installs ${said}, committed is ${found}`);
  }

  readAsked(name: string): void {
    this.#reads.set(name, this.#acknowledged);
  }

  /** A read sees everything that was acknowledged before it was asked for. */
  readConfirmed(name: string, read: { readonly index: number; readonly refused: boolean }): void {
    const least = this.#reads.get(name) ?? 0;
    this.#reads.delete(name);
    if (!read.refused && read.index < least) {
      this.#observer.violate('stale-read', `read ${name} at ${read.index}, acknowledged was ${least}`);
    }
  }

  /** What a leader has committed is durable on majorities. */
  lookAtCommits(members: Iterable<WatchedMember>): void {
    const seen = [...members].map((member) => member.seen);
    const durable = new Map(seen.map(({ node, durableIndex }) => [Number(node), durableIndex]));
    for (const one of seen) {
      const fault = this.#commits.look(one, (voter) => durable.get(voter));
      if (fault !== undefined) this.#observer.violate('committed-durably', fault);
    }
  }

  /** At most one lease; and whoever holds it has applied all that was acknowledged. */
  look(members: Iterable<WatchedMember>): void {
    let holder: WatchedMember | undefined;
    for (const member of members) {
      if (!member.servesAlone) continue;
      if (holder !== undefined) {
        this.#observer.violate('lease-disjoint', `${holder.id} and ${member.id} hold the lease`);
      }
      holder = member;
      if (member.appliedIndex < this.#acknowledged) {
        const seen = `${member.appliedIndex} of ${this.#acknowledged}`;
        this.#observer.violate('stale-read', `${member.id} would serve a read with ${seen} applied`);
      }
    }
  }
}
