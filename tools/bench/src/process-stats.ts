import { readFileSync } from 'node:fs';
import { messageOf } from '@cairn/base';

/** Linux counts the time of processes in these ticks (USER_HZ), on every architecture that Node runs on. */
const US_PER_TICK = 10_000;
const US_PER_MS = 1_000;

/** The text of a file below /proc; undefined when the process is gone or this is not Linux. */
function readProc(path: string): string | undefined {
  try {
    return readFileSync(`/proc/${path}`, 'latin1');
  } catch (error) {
    if (/ENOENT|ESRCH|EACCES/.test(messageOf(error))) return undefined;
    throw error;
  }
}

/** User and system time from the text of `/proc/<pid>/stat`. The name, in parentheses, may hold anything. */
export function cpuUsOfStat(text: string): number {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * US_PER_TICK;
}

/** Busy time of all cores from the text of `/proc/stat`. */
export function busyUsOfStat(text: string): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softIrq = 0, steal = 0] = text
    .slice(0, text.indexOf('\n'))
    .trim()
    .split(/ +/)
    .slice(1)
    .map(Number);
  return (user + nice + system + irq + softIrq + steal) * US_PER_TICK;
}

/** CPU time at one moment; what could not be read is missing. */
export interface CpuSnapshot {
  readonly atMs: number;
  readonly ownUs: number;
  readonly machineUs: number | undefined;
  readonly processesUs: ReadonlyMap<number, number>;
}

/** Takes a snapshot of this process, the machine and the named processes, at the time given. */
export function snapshotCpu(processIds: readonly number[], atMs: number): CpuSnapshot {
  const processesUs = new Map<number, number>();
  for (const processId of processIds) {
    const text = readProc(`${processId}/stat`);
    if (text !== undefined) processesUs.set(processId, cpuUsOfStat(text));
  }
  const machine = readProc('stat');
  const { user, system } = process.cpuUsage();
  return {
    atMs,
    ownUs: user + system,
    machineUs: machine === undefined ? undefined : busyUsOfStat(machine),
    processesUs,
  };
}

/** CPU time that was used between two snapshots. */
export interface CpuUse {
  readonly clientUs: number;
  /** By process id; processes that were not there at both ends are missing. */
  readonly processesUs: Readonly<Record<string, number>>;
  /** Cores that neither the client nor the named processes used; undefined where /proc is missing. */
  readonly otherCores: number | undefined;
}

export function cpuBetween(before: CpuSnapshot, after: CpuSnapshot): CpuUse {
  const clientUs = after.ownUs - before.ownUs;
  const processesUs: Record<string, number> = {};
  let knownUs = clientUs;
  for (const [processId, startUs] of before.processesUs) {
    const endUs = after.processesUs.get(processId);
    if (endUs === undefined) continue;
    processesUs[String(processId)] = endUs - startUs;
    knownUs += endUs - startUs;
  }
  const elapsedUs = (after.atMs - before.atMs) * US_PER_MS;
  const isMeasured = before.machineUs !== undefined && after.machineUs !== undefined && elapsedUs > 0;
  const otherCores = isMeasured
    ? // Ticks are coarse, so the difference may fall a little below nothing.
      Math.max(0, ((after.machineUs ?? 0) - (before.machineUs ?? 0) - knownUs) / elapsedUs)
    : undefined;
  return { clientUs, processesUs, otherCores };
}

/** Resident memory of a process in bytes; undefined when it is gone or this is not Linux. */
export function residentBytes(processId: number): number | undefined {
  const found = /^VmRSS:\s+(\d+) kB$/m.exec(readProc(`${processId}/status`) ?? '');
  return found === null ? undefined : Number(found[1]) * 1_024;
}
