import { CairnError, messageOf, rethrowInvariant } from '@cairn/base';
import type { Clock, Logger, Rng, Timer, Transport } from '@cairn/ports';
import { latestToken, type KnownMember } from '@cairn/store';
import { ReconnectingSession, type Hello, type Session } from '@cairn/wire';

import type { MetadataMember } from './leadership.js';

/** How often the log says who is still missing. */
const SAY_EVERY_MS = 5_000;

export interface FormGroupOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly self: MetadataMember;
  readonly members: readonly MetadataMember[];
  /** What this member says of itself to another. */
  hello(to: string): Hello;
  /** @throws CairnError when the other side must not be a member. */
  check(remote: Hello): void;
  /** Who is missing, and why, in sentences; each time that changes. */
  onWaiting(reasons: readonly string[]): void;
}

/**
 * Waits until every member of a new group has answered from where it was configured, with the same group, and
 * answers who they are. All of them, not a majority: a member that starts with an empty directory can then
 * ask anybody whether the group was formed without it, and is never taken for one that lost its votes.
 *
 * Rejects NAME_TAKEN when the group was formed before, with another directory of this member.
 */
export async function formGroup(options: FormGroupOptions): Promise<KnownMember[]> {
  const { members, self, clock, logger } = options;
  const others = members.filter((member) => member !== self);
  const missing = new Map(others.map(({ name }) => [name, 'it was not reached yet']));
  const found = new Map([[self.name, options.hello(self.name)]]);
  const sessions: ReconnectingSession[] = [];
  const tell = (): void => {
    const absent = others.filter(({ name }) => missing.has(name));
    options.onWaiting(
      absent.map(({ name, address }) => `waits for ${name} at ${address}: ${missing.get(name) ?? ''}`),
    );
  };
  let saying: Timer | undefined;
  const say = (): void => {
    saying = clock.setTimer(SAY_EVERY_MS, () => {
      for (const { name, address } of others) {
        const reason = missing.get(name);
        if (reason !== undefined)
          logger.warn('waiting for a member to form the group', { member: name, address, reason });
      }
      say();
    });
  };
  tell();
  try {
    await new Promise<void>((resolve, reject) => {
      for (const member of others) {
        sessions.push(
          openFormingSession(options, member, {
            found: (remote) => {
              found.set(member.name, remote);
              missing.delete(member.name);
              tell();
              if (missing.size === 0) resolve();
            },
            failed: (error) => {
              if (CairnError.is(error) && error.code === 'NAME_TAKEN') reject(error);
              else if (missing.has(member.name)) {
                missing.set(member.name, messageOf(error ?? 'the connection closed'));
                tell();
              }
            },
          }),
        );
      }
      if (missing.size === 0) resolve();
      else say();
    });
  } finally {
    saying?.cancel();
    for (const session of sessions) session.close();
  }
  logger.info('metadata group formed', { members: members.map(({ name }) => name).join() });
  return members.map((member) => knownFrom(member, found.get(member.name)));
}

interface Told {
  found(remote: Hello): void;
  failed(error: Error | undefined): void;
}

function openFormingSession(
  options: FormGroupOptions,
  member: MetadataMember,
  told: Told,
): ReconnectingSession {
  const { transport, clock, rng, logger } = options;
  return new ReconnectingSession({
    transport,
    clock,
    rng,
    logger,
    address: () => member.address,
    hello: () => options.hello(member.name),
    onFrame: () => undefined,
    onUp: (session: Session) => {
      const { remote } = session;
      if (remote === undefined) return;
      try {
        if (remote.kind !== 'metadata' || remote.name !== member.name) {
          throw new CairnError(
            'FAILED_PRECONDITION',
            `at ${member.address} answers ${remote.kind} "${remote.name}", not metadata member "${member.name}": ` +
              'correct --peers',
          );
        }
        options.check(remote);
        checkSameVersions(options.hello(member.name), remote);
        told.found(remote);
      } catch (error) {
        rethrowInvariant(error);
        told.failed(error as Error);
      }
    },
    onDown: (error, wasUp) => {
      if (!wasUp) told.failed(error);
    },
  });
}

/** The first leader makes a cluster of its own newest version: the others must know that one, too. */
function checkSameVersions(own: Hello, remote: Hello): void {
  if (own.clusterVersions.max === remote.clusterVersions.max) return;
  throw new CairnError(
    'FAILED_PRECONDITION',
    `metadata member "${remote.name}" is Cairn ${remote.build} and runs with cluster versions up to ` +
      `${remote.clusterVersions.max}, "${own.name}" is Cairn ${own.build} and runs with those up to ` +
      `${own.clusterVersions.max}: form the group with one release`,
  );
}

/** What another member shows to this one is the start that this one knows from now on. */
function knownFrom({ name, storeId }: MetadataMember, hello: Hello | undefined): KnownMember {
  const life = hello?.life;
  if (life === undefined) throw new CairnError('INTERNAL', `member ${name} was found without its life`);
  const start = life.start === undefined ? '' : latestToken(life.start);
  return { name, storeId, incarnation: life.incarnation, start };
}
