import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';

/**
 * Process id, start time as the kernel counts it (empty where it is not known), and a number of the attempt.
 */
const ENTRY = /^([1-9]\d{0,9})\.(\d*)\.[0-9a-f]{8}$/;

/** Entries of this process: without start times nothing else tells them from those of an earlier one. */
const own = new Set<string>();

/** A name for one attempt of this process to get a lock; no other attempt ever has it. */
export function newEntry(): string {
  const entry = `${process.pid}.${startTimeOf(process.pid) ?? ''}.${randomBytes(4).toString('hex')}`;
  own.add(entry);
  return entry;
}

/** The attempt is over, and what it got is given back. */
export function forgetEntry(entry: string): void {
  own.delete(entry);
}

/** Whether a name is that of an attempt, by whichever process. */
export function isEntry(name: string): boolean {
  return ENTRY.test(name);
}

/** The process that made an attempt, as a person would look for it. */
export function processOf(entry: string): string {
  return entry.split('.', 1)[0] ?? '';
}

/** Whether the process that made an attempt still runs; a name that no attempt has is nobody's. */
export function isOwnerAlive(entry: string): boolean {
  const [, pidText = '', started = ''] = ENTRY.exec(entry) ?? [];
  const pid = Number(pidText);
  if (pid === 0) return false;
  const now = startTimeOf(pid);
  // In a container the new process often has the number of the dead one; only the start time tells.
  if (now !== undefined && started !== '') return now === started;
  if (pid === process.pid) return own.has(entry);
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM';
  }
}

/** When the process was started, as the kernel counts it: tells a reused process id apart. Linux only. */
function startTimeOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    // Killed and not yet collected by its parent: it holds nothing any more.
    return fields[0] === 'Z' ? 'dead' : fields[19];
  } catch {
    // No such process, or a platform without /proc: the caller falls back to signal 0.
    return undefined;
  }
}
