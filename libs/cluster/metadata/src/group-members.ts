import { CairnError, messageOf, rethrowInvariant, storeId } from '@cairn/base';
import type { Clock, Disk, Logger } from '@cairn/ports';
import {
  areTokens,
  judgeStart,
  latestToken,
  saveIdentity,
  withAccepted,
  type KnownMember,
  type NodeIdentity,
  type StoreMark,
} from '@cairn/store';
import type { Hello, HelloLife, Session } from '@cairn/wire';

import type { MetadataMember } from './leadership.js';

/** A member as the configuration names it. */
export interface PeerAddress {
  readonly name: string;
  readonly address: string;
}

const byName = (one: PeerAddress, other: PeerAddress): number => (one.name < other.name ? -1 : 1);

/**
 * The members of a group that is yet to be formed. Ids follow from the names, not from the order of a flag:
 * all members work out the same ones, however each was started.
 */
export function plannedMembers(peers: readonly PeerAddress[]): MetadataMember[] {
  return peers.toSorted(byName).map(({ name, address }, at) => ({ name, address, storeId: storeId(at + 1) }));
}

/**
 * The members of the group that was formed, where the configuration says they are now.
 *
 * @throws CairnError FAILED_PRECONDITION when the configuration names others.
 */
export function formedMembers(
  self: string,
  known: readonly KnownMember[],
  peers: readonly PeerAddress[],
): MetadataMember[] {
  const namesOf = (list: readonly { readonly name: string }[]): string => list.map(({ name }) => name).join();
  const formed = namesOf(known);
  const named = namesOf(peers.toSorted(byName));
  if (formed !== named) {
    throw new CairnError(
      'FAILED_PRECONDITION',
      `--peers of member ${self} names ${named}, its group was formed by ${formed}: ` +
        'name the members of the group; their order and their addresses may change, their names may not',
    );
  }
  return known.map(({ name, storeId: id }) => ({
    name,
    storeId: id,
    address: peers.find((peer) => peer.name === name)?.address ?? '',
  }));
}

/** A group in one line: equal on all members, or they must not talk. */
export function groupText(members: readonly MetadataMember[]): string {
  return members.map(({ name, storeId: id }) => `${name}=${id}`).join();
}

export interface MemberGateOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly directory: string;
  readonly identity: NodeIdentity;
  /** The members of this group, formed or yet to be. */
  readonly members: readonly MetadataMember[];
  readonly logger: Logger;
  /** The member whose directory was lost for good, as the operator says; empty = none. */
  readonly newDirectoryOf: string;
  /**
   * This member follows or leads, and reaches all others but the one named: nothing that is committed is
   * missing.
   */
  isSettledWithout(name: string): boolean;
  /** Which process answers where the configuration says that the member is; undefined = none of it does. */
  askProcess(member: MetadataMember): Promise<string | undefined>;
}

/** A directory that others run hears this long that it must wait; then it is told that it must not. */
const RUNS_ALREADY_MS = 30_000;

/** A new start is asked about so often at most, */
const ASK_EVERY_MS = 1_000;
/** and is taken without an answer after so many asks in vain: whoever cannot be dialled is of little use. */
const ASKED_IN_VAIN_MAX = 10;
/** What was found counts this long; nobody who wants to be a member is silent for longer. */
const FOUND_AGE_MS_MAX = 10_000;

/** What is known of the process that a member is now. */
interface Lookup {
  /** Which process answered where the member should be. */
  found: string | undefined;
  /** When it was asked last. */
  askedMs: number;
  isAsking: boolean;
  /** Asks in a row that nobody answered. */
  inVain: number;
}

/**
 * Who may speak as a member of the group: the data directories that formed it, each in its newest start. A
 * member whose directory was lost has forgotten its votes, an older copy of one has forgotten some of them,
 * and two processes on copies of one directory vote twice: any of the three could make a second leader.
 *
 * Each member keeps for itself which start of each other one it accepted last (`StartTokens`). It does so on
 * the disk before it takes anything of that start.
 */
export class MemberGate {
  readonly #options: MemberGateOptions;
  readonly #group: string;
  #identity: NodeIdentity;
  /** Sessions of members that are open, with the process behind each. */
  readonly #open = new Map<Session, { readonly name: string; readonly process: string }>();
  /** Members whose start is being written. At most as many as there are members. */
  readonly #recording = new Set<string>();
  /** Processes of members that another one runs already, and since when each tries. One a member. */
  readonly #waiting = new Map<string, { readonly process: string; readonly sinceMs: number }>();
  /** Members whose new start was shown here and not taken yet. One a member. */
  readonly #lookups = new Map<string, Lookup>();
  #saving: Promise<void> = Promise.resolve();
  #hasAcceptedNew = false;

  constructor(options: MemberGateOptions) {
    this.#options = options;
    this.#group = groupText(options.members);
    this.#identity = options.identity;
  }

  /** Empty until the group is formed. */
  get known(): readonly KnownMember[] {
    return this.#identity.members;
  }

  /** What this member says of itself to another one, or to whoever was taken for it. */
  lifeFor(name: string): HelloLife {
    const { incarnation, starts, process } = this.#identity;
    const start = starts.find(({ acceptor }) => acceptor === name);
    return {
      group: this.#group,
      incarnation: incarnation.toString('hex'),
      start: start && { accepted: start.accepted, offered: start.offered },
      process: process.toString('hex'),
      unixMs: this.#options.clock.unixMs(),
    };
  }

  /** All members have spoken to each other: from now on these directories are the group. */
  formed(members: readonly KnownMember[]): Promise<void> {
    return this.#save((identity) => ({ ...identity, members }));
  }

  /**
   * @throws CairnError FAILED_PRECONDITION (another group, or still running elsewhere), NAME_TAKEN (another
   *   directory, or an older copy), UNAVAILABLE (a new start is being written): the session is refused with
   *   the sentence.
   */
  check(remote: Hello): void {
    const { life, name } = remote;
    if (life === undefined) {
      throw new CairnError('FAILED_PRECONDITION', `${name} does not say which group it is a member of`);
    }
    if (life.group !== this.#group) {
      throw new CairnError(
        'FAILED_PRECONDITION',
        `${name} was started for the group ${life.group}, ${this.#identity.name} is in ` +
          `${this.#group}: give all members the same --peers`,
      );
    }
    const member = this.#options.members.find((one) => one.name === name);
    if (member === undefined) {
      throw new CairnError('FAILED_PRECONDITION', `${name} is not a member of this group`);
    }
    if (member.storeId !== remote.storeId) {
      throw new CairnError(
        'FAILED_PRECONDITION',
        `${name} is member ${member.storeId}, not ${remote.storeId}`,
      );
    }
    const known = this.#identity.members.find((one) => one.name === name);
    // Until the group is formed every name is taken by its word.
    if (known !== undefined) this.#checkDirectory(member, known, life, remote.purpose);
  }

  #checkDirectory(
    member: MetadataMember,
    known: KnownMember,
    life: HelloLife,
    purpose: Hello['purpose'],
  ): void {
    const { name } = known;
    const { start: shown } = life;
    if (shown === undefined || !areTokens(shown)) {
      throw new CairnError('FAILED_PRECONDITION', `${name} does not say which start it is`);
    }
    const start = latestToken(shown);
    if (known.incarnation !== life.incarnation) {
      if (!this.#recording.has(name) && !this.#acceptsNew(name)) {
        throw new CairnError(
          'NAME_TAKEN',
          `${name} formed this group with another data directory: what it voted for is in there. ` +
            'Start it with that directory; if that is lost for good, see "A member that lost its directory" in ' +
            'docs/operations.md',
        );
      }
      this.#checkAlone(name, life.process);
      throw this.#record({ ...known, incarnation: life.incarnation, start });
    }
    const verdict = judgeStart(known.start, shown);
    if (verdict === 'older') {
      throw new CairnError(
        'NAME_TAKEN',
        `${name} was started from an older copy of its data directory, one that does not know of the last start ` +
          `that ${this.#identity.name} saw: what it voted for since is missing. Start it with the newest directory`,
      );
    }
    this.#checkAlone(name, life.process);
    // For the rest of what members ask each other it is enough to be no older copy.
    if (verdict !== 'newer' || purpose === 'rpc') return;
    this.#checkFound(member, life.process);
    throw this.#record({ ...known, start });
  }

  /** @throws CairnError unless this is the only process of the member. */
  #checkAlone(name: string, process: string): void {
    const isAlone = [...this.#open.values()].every((one) => one.name !== name || one.process === process);
    if (!isAlone) throw this.#second(name, process);
    if (this.#waiting.get(name)?.process === process) this.#waiting.delete(name);
  }

  #second(name: string, process: string): CairnError {
    const nowMs = this.#options.clock.nowMs();
    const waiting = this.#waiting.get(name);
    if (waiting?.process !== process) this.#waiting.set(name, { process, sinceMs: nowMs });
    const isLong = waiting?.process === process && nowMs - waiting.sinceMs > RUNS_ALREADY_MS;
    return new CairnError(
      isLong ? 'NAME_TAKEN' : 'FAILED_PRECONDITION',
      `${name} runs already, as another process: stop one of the two, and never start a copy of a data directory`,
    );
  }

  /**
   * That its last process has no session here does not mean that it has ended: this member may have been
   * started a moment ago, or the session broke. So a new start is taken when it is the one that answers where
   * the member should be, where no two processes can listen.
   *
   * @throws CairnError unless it is, or nobody answers there for long.
   */
  #checkFound(member: MetadataMember, process: string): void {
    const { name, address } = member;
    const nowMs = this.#options.clock.nowMs();
    let lookup = this.#lookups.get(name);
    if (lookup === undefined || nowMs - lookup.askedMs > FOUND_AGE_MS_MAX) {
      lookup = { found: undefined, askedMs: -Infinity, isAsking: false, inVain: 0 };
      this.#lookups.set(name, lookup);
    }
    if (lookup.found === process || lookup.inVain >= ASKED_IN_VAIN_MAX) return;
    if (!lookup.isAsking && nowMs - lookup.askedMs >= ASK_EVERY_MS) this.#ask(member, lookup, nowMs);
    if (lookup.found !== undefined) throw this.#second(name, process);
    throw new CairnError(
      'UNAVAILABLE',
      `${this.#identity.name} asks at ${address} whether the last process of ${name} still runs`,
      { retryAfterMs: 50 },
    );
  }

  #ask(member: MetadataMember, lookup: Lookup, nowMs: number): void {
    lookup.isAsking = true;
    lookup.askedMs = nowMs;
    this.#options
      .askProcess(member)
      .then((found) => {
        lookup.found = found;
        lookup.inVain = found === undefined ? lookup.inVain + 1 : 0;
      })
      .catch((error: unknown) => {
        rethrowInvariant(error);
        lookup.inVain += 1;
        this.#options.logger.warn('member not asked', { member: member.name, reason: messageOf(error) });
      })
      .finally(() => {
        lookup.isAsking = false;
      });
  }

  /** @throws CairnError UNAVAILABLE while it would not be safe. */
  #acceptsNew(name: string): boolean {
    if (name !== this.#options.newDirectoryOf || this.#hasAcceptedNew) return false;
    if (this.#options.isSettledWithout(name)) return true;
    throw new CairnError(
      'UNAVAILABLE',
      `${this.#identity.name} takes the new directory of ${name} when there is a leader and all other members are ` +
        'connected: only then nothing hangs on what the old one held',
      { retryAfterMs: 500 },
    );
  }

  /**
   * Writes down whom the member is from now on. What it sends is taken after that: if this one forgot the
   * start, it would take an older copy for the newest.
   */
  #record(changed: KnownMember): CairnError {
    const { name, incarnation } = changed;
    const isNewDirectory = this.known.every((member) => member.incarnation !== incarnation);
    if (!this.#recording.has(name)) {
      this.#recording.add(name);
      this.#save((identity) => ({
        ...identity,
        members: identity.members.map((member) => (member.name === name ? changed : member)),
      }))
        .then(() => {
          this.#lookups.delete(name);
          if (!isNewDirectory) return;
          this.#hasAcceptedNew = true;
          this.#options.logger.warn('new directory of a member accepted', { member: name, incarnation });
        })
        .catch((error: unknown) => {
          rethrowInvariant(error);
          // It dials again, and the next hello tries again.
          this.#options.logger.warn('start of a member not recorded', {
            member: name,
            reason: messageOf(error),
          });
        })
        .finally(() => {
          this.#recording.delete(name);
        });
    }
    return new CairnError('UNAVAILABLE', `${this.#identity.name} is writing down the start of ${name}`, {
      retryAfterMs: 50,
    });
  }

  /** Another member has taken a session of this start: it is written there. */
  accepted(by: string): void {
    const offer = this.#identity.starts.find(({ acceptor }) => acceptor === by);
    if (offer === undefined || offer.offered.length === 0) return;
    this.#save((identity) => withAccepted(identity, by)).catch((error: unknown) => {
      rethrowInvariant(error);
      // The next start makes the same offer again, which is as good.
      this.#options.logger.warn('accepted start not recorded', { by, reason: messageOf(error) });
    });
  }

  /** What log and engine of this member are held against. */
  storeMark(): StoreMark {
    const { incarnation, isStoreMade } = this.#identity;
    const made = (): Promise<void> => this.#save((identity) => ({ ...identity, isStoreMade: true }));
    return { incarnation, isMade: isStoreMade, made };
  }

  /** The session of a member that was checked is open now. */
  opened(session: Session, { life, name }: Hello): void {
    if (life !== undefined) this.#open.set(session, { name, process: life.process });
  }

  closed(session: Session): void {
    this.#open.delete(session);
  }

  /** Resolves when nothing is being written. */
  settled(): Promise<void> {
    return this.#saving;
  }

  /** What is written is what counts. One at a time: all use one name aside. */
  #save(change: (identity: NodeIdentity) => NodeIdentity): Promise<void> {
    const { disk, directory } = this.#options;
    const saving = this.#saving.then(async () => {
      const changed = change(this.#identity);
      await saveIdentity(disk, directory, changed);
      this.#identity = changed;
    });
    this.#saving = saving.catch(rethrowInvariant);
    return saving;
  }
}
