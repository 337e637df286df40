import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { KvEngine } from '@cairn/engine';
import { openClassicLevelEngine } from '@cairn/engine/classic-level';
import { InlineJobs, LsmEngine } from '@cairn/lsm';
import { Namespace, VERSIONED_KEYS } from '@cairn/mvcc';
import { noopLogger } from '@cairn/ports';
import { NodeClock, NodeDisk, NodeRng } from '@cairn/runtime-node';
import type { EngineName } from './options.js';

/**
 * Every row of every key that a stopped shard node holds, locks and records of transactions included:
 * engine keys in hex, digests of values.
 */
export type ReplicaRows = ReadonlyMap<string, string>;

const ROWS_PER_STEP = 1_000;
const DIFFERENCES_MAX = 5;

function openEngine(path: string, name: EngineName): Promise<KvEngine> {
  switch (name) {
    case 'classic-level':
      return openClassicLevelEngine({ path, logger: noopLogger });
    case 'lsm': {
      const disk = new NodeDisk();
      const runner = new InlineJobs(disk);
      const [clock, rng] = [new NodeClock(), new NodeRng()];
      return LsmEngine.open({
        ...{ path, disk, clock, rng, logger: noopLogger, runner, versioned: VERSIONED_KEYS },
      });
    }
  }
}

/** Reads the rows of a node that does not run. */
export async function readRows(dataDirectory: string, name: EngineName): Promise<ReplicaRows> {
  const engine = await openEngine(join(dataDirectory, 'engine'), name);
  const rows = new Map<string, string>();
  try {
    const iterator = engine.iterate({
      start: Buffer.of(Namespace.versions),
      end: Buffer.of(Namespace.members + 1),
    });
    for (;;) {
      const step = await iterator.next(ROWS_PER_STEP);
      if (step.length === 0) break;
      for (const [key, value] of step) {
        rows.set(key.toString('hex'), createHash('sha256').update(value).digest('base64'));
      }
    }
    await iterator.close();
  } finally {
    await engine.close();
  }
  return rows;
}

function readable(hex: string): string {
  return JSON.stringify(Buffer.from(hex, 'hex').toString('latin1'));
}

/** What one node has and another lacks, or has differently; empty = equal. */
export function differences(
  first: readonly [name: string, rows: ReplicaRows],
  second: readonly [name: string, rows: ReplicaRows],
): string[] {
  const [[nameA, a], [nameB, b]] = [first, second];
  const found: string[] = [];
  for (const [key, digest] of a) {
    const other = b.get(key);
    if (other === undefined) found.push(`${nameA} has a row that ${nameB} has not: ${readable(key)}`);
    else if (other !== digest) found.push(`${nameA} and ${nameB} hold different values at ${readable(key)}`);
  }
  for (const key of b.keys()) {
    if (!a.has(key)) found.push(`${nameB} has a row that ${nameA} has not: ${readable(key)}`);
  }
  const more = found.length > DIFFERENCES_MAX ? [`and ${found.length - DIFFERENCES_MAX} more`] : [];
  return [...found.slice(0, DIFFERENCES_MAX), ...more];
}
