import type { Violation } from '@cairn/checkers';

import type { Caller, Outcome } from './caller.js';
import type { Fault } from './load.js';

/** An outcome as histories call it. */
export function recordedOutcome({ type }: Outcome<unknown>): 'ok' | 'fail' | 'info' {
  return type === 'ok' ? 'ok' : type === 'failed' ? 'fail' : 'info';
}

/** When it returned, for histories in which what is unknown never does. */
export function returnOf({ type, returnedMs }: Outcome<unknown>): number {
  return type === 'unknown' ? Number.POSITIVE_INFINITY : returnedMs;
}

/** To be called when a write was recorded: a process has one operation open at a time. */
export function processAfter(caller: Caller, { type }: Outcome<unknown>): void {
  if (type === 'unknown') caller.becomeSomebodyElse();
}

export function faultOf({ name, explanation }: Violation): Fault {
  return { name, message: explanation };
}

/** Who did it and when, for people. */
export function whereOf({ process }: Caller, { invokedMs }: Outcome<unknown>): string {
  return `${process} at ${invokedMs.toFixed(1)} ms`;
}
