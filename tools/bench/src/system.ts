import { assert } from '@cairn/base';
import type { FailoverSpec } from './failover-campaign.js';
import type { FailoverResult } from './failover.js';
import type { RunResult } from './load-messages.js';
import type { Cell, WorkName } from './works.js';

/** One run of one cell. */
export interface RunSpec extends Cell {
  readonly warmupMs: number;
  readonly durationMs: number;
  readonly seed: number;
}

/** What one run measured. */
export interface Sample {
  readonly opsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly errors: number;
  readonly firstError: string;
  readonly misses: number;
  /**
   * Microseconds of CPU per operation, by role: the mean of the processes of that role, and `total` over all
   * processes. Empty where processes cannot be seen.
   */
  readonly cpuUsPerOp: Readonly<Record<string, number>>;
  /** Cores that everything else on the machine used meanwhile; undefined where that cannot be seen. */
  readonly otherCores: number | undefined;
  /** Works with transactions: runs of a transaction beyond the first, per operation. */
  readonly restartsPerOp?: number;
  /** The same works: the longest time that one slot was without a success. */
  readonly starvationMs?: number;
}

/** A system under measurement. */
export interface BenchSystem {
  readonly name: string;
  readonly version: string;
  /** What drives it in this work. */
  driverOf(work: WorkName): string;
  /** False for what it has no operation for. */
  canRun(work: WorkName): boolean;
  /** Writes all keys. */
  preload(): Promise<void>;
  run(spec: RunSpec): Promise<Sample>;
  /**
   * Kills the process that leads the first keys under load, measures how long nobody can write them, starts
   * it again, and resolves when it has caught up.
   */
  failover(spec: FailoverSpec): Promise<FailoverResult>;
  /** Resident memory by process; empty where processes cannot be seen. */
  residentBytes(): Record<string, number>;
  /** Ends all that was started for it. */
  stop(): Promise<void>;
}

const US_PER_S = 1_000_000;

function addTo(sums: Map<string, { us: number; processes: number }>, role: string, us: number): void {
  const sum = sums.get(role) ?? { us: 0, processes: 0 };
  sums.set(role, { us: sum.us + us, processes: sum.processes + 1 });
}

/** CPU per operation by role. Processes without a role only count in the total. */
export function cpuPerOperation(
  result: Pick<RunResult, 'cpu' | 'operations'>,
  roles: ReadonlyMap<number, string>,
): Record<string, number> {
  const { cpu, operations } = result;
  if (operations === 0) return {};
  const sums = new Map<string, { us: number; processes: number }>();
  addTo(sums, 'client', cpu.clientUs);
  let totalUs = cpu.clientUs;
  for (const [processId, us] of Object.entries(cpu.processesUs)) {
    totalUs += us;
    const role = roles.get(Number(processId));
    if (role !== undefined) addTo(sums, role, us);
  }
  const perOperation: Record<string, number> = {};
  for (const [role, { us, processes }] of sums) perOperation[role] = us / processes / operations;
  perOperation['total'] = totalUs / operations;
  return perOperation;
}

/** A run of the Node client as a sample. */
export function sampleOf(result: RunResult, roles: ReadonlyMap<number, string>): Sample {
  assert(result.elapsedMs > 0, 'a window takes time');
  return {
    opsPerSecond: (result.operations * 1_000) / result.elapsedMs,
    p50Ms: result.p50Ms,
    p99Ms: result.p99Ms,
    p999Ms: result.p999Ms,
    errors: result.errors,
    firstError: result.firstError,
    misses: result.misses,
    cpuUsPerOp: cpuPerOperation(result, roles),
    otherCores: result.cpu.otherCores,
    ...(result.restarts === undefined || result.operations === 0
      ? {}
      : { restartsPerOp: result.restarts / result.operations }),
    ...(result.starvationMs === undefined ? {} : { starvationMs: result.starvationMs }),
  };
}

/** Cores as microseconds per operation. */
export function coresPerOperation(cores: number, opsPerSecond: number): number {
  return opsPerSecond > 0 ? (cores * US_PER_S) / opsPerSecond : 0;
}
