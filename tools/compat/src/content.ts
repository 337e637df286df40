import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CairnClient } from '@cairn/client';

const FILE = 'expected.json';

/** What a cluster said of itself before it was put away: what every later release must read. */
export interface Expected {
  readonly release: string;
  readonly clusterVersion: number;
  readonly nodes: { readonly metadata: number; readonly shards: number };
  /** Every key that was there, hexadecimal: a digest of its value, and whether it has an expiry. */
  readonly rows: Readonly<Record<string, { readonly sha256: string; readonly expires: boolean }>>;
  /** Settings that are not the default. */
  readonly settings: Readonly<Record<string, string>>;
  readonly ranges: number;
  /** Stores that hold a replica. */
  readonly stores: readonly number[];
}

export type Content = Pick<Expected, 'clusterVersion' | 'rows' | 'settings' | 'ranges' | 'stores'>;

export async function contentOf(client: CairnClient): Promise<Content> {
  const rows: Record<string, { sha256: string; expires: boolean }> = {};
  for await (const { key, value, expiresAtMs } of client.scan({ timeoutMs: 30_000 })) {
    const sha256 = createHash('sha256').update(value).digest('hex');
    rows[key.toString('hex')] = { sha256, expires: expiresAtMs !== undefined };
  }
  const settings: Record<string, string> = {};
  for (const { name, value, isDefault } of await client.settings()) if (!isDefault) settings[name] = value;
  const ranges = await client.ranges();
  const stores = new Set(ranges.flatMap(({ replicas }) => replicas.map(({ storeId }) => storeId)));
  const { clusterVersion } = await client.status();
  return {
    ...{ clusterVersion, rows, settings, ranges: ranges.length },
    stores: [...stores].toSorted((one, other) => one - other),
  };
}

export function writeExpected(directory: string, expected: Expected): void {
  writeFileSync(join(directory, FILE), `${JSON.stringify(expected, undefined, 2)}\n`);
}

export function readExpected(directory: string): Expected {
  return JSON.parse(readFileSync(join(directory, FILE), 'utf8')) as Expected;
}
