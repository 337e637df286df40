import type { CairnClient, ReadConsistency, Snapshot } from '@cairn/client';
import { UsageError } from './exit-codes.js';
import { parseDurationMs } from './render/units.js';

/** What `--at` says: a timestamp, a time, or milliseconds ago as a negative number. Throws UsageError. */
export function momentOf(text: string, flag = '--at'): number | Date {
  if (/^\d+$/.test(text)) {
    const timestamp = Number(text);
    if (Number.isSafeInteger(timestamp) && timestamp > 0) return timestamp;
  }
  if (text.startsWith('-')) {
    const ago = parseDurationMs(text.slice(1));
    if (ago !== undefined && ago > 0) return -ago;
  }
  const date = new Date(text);
  if (/^\d{4}-\d\d-\d\d/.test(text) && !Number.isNaN(date.getTime())) return date;
  throw new UsageError(
    `${flag} "${text}" is no moment: write -10s (that long ago), 2030-01-31T12:00:00Z, or a timestamp`,
  );
}

/** Of which moment reads are: undefined = now, and any replica may answer where they may be old. */
export interface ReadMoment {
  readonly at: number | Date | undefined;
  readonly isStale: boolean;
}

/** What the options of a command say. Throws UsageError. */
export function readMomentOf(options: { readonly at?: string; readonly stale?: boolean }): ReadMoment {
  const isStale = options.stale === true;
  if (options.at === undefined) return { at: undefined, isStale };
  if (isStale) throw new UsageError('--at and --stale contradict each other');
  return { at: momentOf(options.at), isStale };
}

/**
 * A snapshot of that moment. Throws UsageError when the cluster has not come there: what it will hold then
 * nobody knows.
 */
export async function snapshotOf(client: CairnClient, at: number | Date, flag = '--at'): Promise<Snapshot> {
  const snapshot = await client.snapshot({ at });
  if (typeof at === 'number' && at < 0) return snapshot;
  const now = await client.timestamp();
  if (snapshot.timestamp <= now) return snapshot;
  throw new UsageError(
    `${flag} lies in the future: it is timestamp ${snapshot.timestamp}, and the cluster is at ${now} now`,
  );
}

/** The same for the client. */
export async function consistencyOf(
  client: CairnClient,
  { at, isStale }: ReadMoment,
): Promise<{ readonly consistency?: ReadConsistency }> {
  if (at === undefined) return isStale ? { consistency: 'stale' } : {};
  const { timestamp } = await snapshotOf(client, at);
  return { consistency: { timestamp } };
}
