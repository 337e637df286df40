import type { KvEngine } from '@cairn/engine';
import type { EngineSpan } from '@cairn/store';

/** The state of one replica: where it is and which rows it has. */
export interface ReplicaState {
  readonly node: string;
  readonly rangeId: number;
  readonly appliedIndex: number;
  readonly rows: ReadonlyMap<string, string>;
  /** Its machine as one line, for whoever looks for the reason of a difference. */
  readonly machine: string;
}

const ROWS_PER_STEP = 1_000;

/** All rows of the spans; keys and values as hexadecimal text. */
export async function readRows(engine: KvEngine, spans: readonly EngineSpan[]): Promise<Map<string, string>> {
  const rows = new Map<string, string>();
  for (const span of spans) {
    const iterator = engine.iterate(span);
    for (;;) {
      const page = await iterator.next(ROWS_PER_STEP);
      if (page.length === 0) break;
      for (const [key, value] of page) rows.set(key.toString('hex'), value.toString('hex'));
    }
    await iterator.close();
  }
  return rows;
}

/**
 * Rows of a store that belong to no replica: some part of one that was removed, moved or cut was left behind.
 */
export function strayFaults(node: string, rows: Iterable<string>, spans: readonly EngineSpan[]): string[] {
  const bounds = spans.map(({ start, end }) => [textOf(start), textOf(end)] as const);
  const strays = [...rows].filter((key) => !bounds.some(([start, end]) => key >= start && key < end));
  const [first] = strays;
  return first === undefined ? [] : [`${node} has ${strays.length} rows of no range, among them ${first}`];
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** Replicas of one range at one applied index must hold the same rows. Answers what differs. */
export function replicaFaults(states: readonly ReplicaState[]): string[] {
  const faults: string[] = [];
  const first = new Map<string, ReplicaState>();
  for (const state of states) {
    const place = `${state.rangeId}@${state.appliedIndex}`;
    const other = first.get(place);
    if (other === undefined) {
      first.set(place, state);
      continue;
    }
    const difference = firstDifference(other.rows, state.rows);
    if (difference === undefined) continue;
    faults.push(
      `range ${place}: ${other.node} and ${state.node} differ at ${difference}\n${machinesOf(other, state)}`,
    );
  }
  return faults;
}

/** The machines of two replicas that differ, a line each. */
export function machinesOf(...held: readonly Pick<ReplicaState, 'node' | 'machine'>[]): string {
  return held.map(({ node, machine }) => `  ${node}: ${machine}`).join('\n');
}

function firstDifference(
  one: ReadonlyMap<string, string>,
  other: ReadonlyMap<string, string>,
): string | undefined {
  for (const [key, value] of one) {
    if (other.get(key) !== value)
      return `${key} (${value.slice(0, 60)} / ${(other.get(key) ?? 'none').slice(0, 60)})`;
  }
  for (const key of other.keys()) if (!one.has(key)) return `${key} (only in the second)`;
  return undefined;
}
