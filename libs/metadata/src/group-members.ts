import { CairnError, storeId } from '@cairn/base';
import type { Clock, Disk, Logger } from '@cairn/ports';
import { saveIdentity, type KnownMember, type NodeIdentity } from '@cairn/store';
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
  /** `groupText` of this member's group. */
  readonly group: string;
  readonly logger: Logger;
  /** The member whose directory was lost for good, as the operator says; empty = none. */
  readonly newDirectoryOf: string;
  /**
   * This member follows or leads, and reaches all others but the one named: nothing that is committed is
   * missing.
   */
  isSettledWithout(name: string): boolean;
}

/**
 * Who may speak as a member of the group: the data directories that formed it, each in its newest start. A
 * member whose directory was lost has forgotten its votes, an older copy of one has forgotten some of them,
 * and two processes on copies of one directory vote twice: any of the three could make a second leader.
 */
export class MemberGate {
  readonly #options: MemberGateOptions;
  #identity: NodeIdentity;
  /** Sessions of members that are open, with the process behind each. */
  readonly #open = new Map<Session, { readonly name: string; readonly process: string }>();
  #saving: Promise<void> = Promise.resolve();
  #hasAcceptedNew = false;

  constructor(options: MemberGateOptions) {
    this.#options = options;
    this.#identity = options.identity;
  }

  /** Empty until the group is formed. */
  get known(): readonly KnownMember[] {
    return this.#identity.members;
  }

  get life(): HelloLife {
    const { incarnation, boots, process } = this.#identity;
    return {
      group: this.#options.group,
      incarnation: incarnation.toString('hex'),
      boots,
      process: process.toString('hex'),
      unixMs: this.#options.clock.unixMs(),
    };
  }

  /** All members have spoken to each other: from now on these directories are the group. */
  async formed(members: readonly KnownMember[]): Promise<void> {
    this.#identity = { ...this.#identity, members };
    await saveIdentity(this.#options.disk, this.#options.directory, this.#identity);
  }

  /**
   * @throws CairnError FAILED_PRECONDITION (another group, or still running elsewhere), NAME_TAKEN (another
   *   directory, or an older copy): the session is refused with the sentence.
   */
  check(remote: Hello): void {
    const { life, name } = remote;
    if (life === undefined) {
      throw new CairnError('FAILED_PRECONDITION', `${name} does not say which group it is a member of`);
    }
    if (life.group !== this.#options.group) {
      throw new CairnError(
        'FAILED_PRECONDITION',
        `${name} was started for the group ${life.group}, ${this.#identity.name} is in ` +
          `${this.#options.group}: give all members the same --peers`,
      );
    }
    const known = this.#identity.members.find((member) => member.name === name);
    if (known === undefined) return;
    if (known.storeId !== remote.storeId) {
      throw new CairnError(
        'FAILED_PRECONDITION',
        `${name} is member ${known.storeId}, not ${remote.storeId}`,
      );
    }
    this.#checkDirectory(known, life);
    for (const other of this.#open.values()) {
      if (other.name !== name || other.process === life.process) continue;
      throw new CairnError(
        'FAILED_PRECONDITION',
        `${name} runs already, as another process: stop one of the two, and never start a copy of a data directory`,
      );
    }
  }

  #checkDirectory(known: KnownMember, life: HelloLife): void {
    const { name } = known;
    if (known.incarnation !== life.incarnation && this.#acceptsNew(name)) {
      this.#acceptNew(known, life);
      return;
    }
    if (known.incarnation !== life.incarnation) {
      throw new CairnError(
        'NAME_TAKEN',
        `${name} formed this group with another data directory: what it voted for is in there. ` +
          'Start it with that directory; if that is lost for good, see "A member that lost its directory" in ' +
          'docs/operations.md',
      );
    }
    if (life.boots > known.boots || (life.boots === known.boots && life.process === known.process)) return;
    throw new CairnError(
      'NAME_TAKEN',
      `${name} was started from an older copy of its data directory (start ${life.boots}, known is start ` +
        `${known.boots}): what it voted for since is missing. Start it with the newest directory`,
    );
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

  #acceptNew(known: KnownMember, { incarnation, boots, process }: HelloLife): void {
    this.#hasAcceptedNew = true;
    this.#options.logger.warn('new directory of a member accepted', { member: known.name, incarnation });
    const members = this.#identity.members.map((member) =>
      member === known ? { ...member, incarnation, boots, process } : member,
    );
    this.#save({ ...this.#identity, members });
  }

  /** A session of a member that was checked is open. */
  opened(session: Session, remote: Hello): void {
    const { life, name } = remote;
    if (life === undefined) return;
    this.#open.set(session, { name, process: life.process });
    const known = this.#identity.members.find((member) => member.name === name);
    if (known === undefined || life.boots <= known.boots) return;
    const { boots, process } = life;
    const members = this.#identity.members.map((member) =>
      member === known ? { ...member, boots, process } : member,
    );
    this.#save({ ...this.#identity, members });
  }

  closed(session: Session): void {
    this.#open.delete(session);
  }

  /** Resolves when nothing is being written. */
  settled(): Promise<void> {
    return this.#saving;
  }

  #save(identity: NodeIdentity): void {
    this.#identity = identity;
    const { disk, directory, logger } = this.#options;
    // One at a time: all use one name aside.
    this.#saving = this.#saving
      .then(() => saveIdentity(disk, directory, this.#identity))
      .catch((error: unknown) => {
        // Known in memory; told again when the member or this one starts the next time.
        logger.warn('start of a member not recorded', { reason: String(error) });
      });
  }
}
