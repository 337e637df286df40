import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '@cairn/base';
import { connect, type CairnClient } from '@cairn/client';
import type { LocalCluster } from '@cairn/local-cluster';
import { TRANSACTION_LOADS, type TransactionLoads } from './loads.js';
import { verdictOf, type Verdict } from './verdict.js';

/** Keys that transactions of the crowd lock: accounts of the bank. */
const LOCKED_KEYS = Array.from({ length: 8 }, (_, at) => `w/${TRANSACTION_LOADS[0]}/${at}`);
/** As many kills as minutes of faults before, and at least one. */
const KILLS_MAX = 4;
const CROWD = 24;
/** The crowd is busy by then. */
const CROWD_MS = 400;
/** Locks of a router that was killed must not be in anybody's way for longer. */
const WAIT_LIMIT_MS = 4_000;
const GIVE_UP_MS = 15_000;
/** A write that takes this long has waited for something. */
const NOTICED_MS = 250;

export interface LockWaits {
  /** Routers that were killed. */
  readonly kills: number;
  /** Writes that had to wait. */
  readonly waited: number;
  readonly longestMs: number;
}

interface Around {
  readonly cluster: LocalCluster;
  readonly loads: TransactionLoads;
  /** That faults lasted before. */
  readonly minutes: number;
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Kills routers with SIGKILL while many transactions go through them, with everything else sound, and
 * measures how long what they had locked is in the way of plain writes through another router.
 */
export async function measureLockWaits(around: Around): Promise<LockWaits | undefined> {
  const { cluster, say, signal } = around;
  const { routers } = cluster.endpoints;
  const names = cluster.nodes.filter(({ kind }) => kind === 'router').map(({ name }) => name);
  if (routers.length < 2) return undefined;
  const waits: number[] = [];
  const kills = Math.min(KILLS_MAX, Math.ceil(around.minutes));
  for (let kill = 0; kill < kills && !signal.aborted; kill += 1) {
    const at = kill % routers.length;
    const survivors = routers.filter((_, other) => other !== at);
    const killed = await killInACrowd(around, {
      name: names[at] ?? '',
      endpoint: routers[at] ?? '',
      survivors,
    });
    waits.push(...killed);
    const noticed = killed.filter((ms) => ms > NOTICED_MS).map((ms) => `${ms.toFixed(0)} ms`);
    say(
      `  its locks were in the way for ${noticed.length === 0 ? 'no time that one notices' : noticed.join(', ')}`,
    );
  }
  return {
    kills,
    waited: waits.filter((ms) => ms > NOTICED_MS).length,
    longestMs: Math.max(0, ...waits),
  };
}

/** Answers how long a write of each key takes from the moment of the kill on. */
async function killInACrowd(
  { cluster, loads, say, signal }: Around,
  victim: { readonly name: string; readonly endpoint: string; readonly survivors: readonly string[] },
): Promise<number[]> {
  const over = new AbortController();
  const crowding = connect({ endpoints: [victim.endpoint], timeoutMs: GIVE_UP_MS });
  const other = connect({ endpoints: victim.survivors, timeoutMs: GIVE_UP_MS });
  const crowd = loads.crowd(crowding, CROWD, over.signal);
  try {
    await other.ready();
    await delay(CROWD_MS, undefined, { signal }).catch(() => undefined);
    say(`kill ${victim.name} amid ${CROWD} transactions`);
    over.abort();
    await cluster.kill(victim.name, 'SIGKILL');
    const killedMs = performance.now();
    return await Promise.all(LOCKED_KEYS.map((key) => waitFor(other, key, killedMs)));
  } finally {
    over.abort();
    // With their router back, those who still wait for it end at once.
    await Promise.all([crowd, cluster.restart(victim.name)]);
    crowding.close();
    other.close();
  }
}

async function waitFor(client: CairnClient, key: string, sinceMs: number): Promise<number> {
  // Adds nothing, but has to wait for whoever has locked the key.
  await client.increment(key, 0);
  return performance.now() - sinceMs;
}

/** `error` is why it could not be measured. */
export function judgeLockWaits(waits: LockWaits | undefined, error: unknown): Verdict {
  if (error !== undefined)
    return verdictOf('locks', 'a write behind a router that was killed', [messageOf(error)]);
  if (waits === undefined) return verdictOf('locks', 'not measured: there is one router', []);
  const { kills, waited, longestMs } = waits;
  const longest = `${longestMs.toFixed(0)} ms at most`;
  const looked = `${waited} writes waited for ${kills} routers that were killed, ${longest}`;
  const isTooLong = longestMs >= WAIT_LIMIT_MS;
  return verdictOf('locks', looked, isTooLong ? [`must be below ${WAIT_LIMIT_MS} ms`] : []);
}
