import type { Operation } from './history.js';

/**
 * No increment lost or applied twice, cheaply and whatever the order: the final value lies between the sum of
 * the acknowledged ones and that plus the undecided ones, and no answer was given twice.
 */
export function counterFaults(key: string, operations: readonly Operation[], finalValue: number): string[] {
  const faults: string[] = [];
  let acknowledged = 0;
  let undecided = 0;
  const results = new Set<string>();
  for (const { action, returnedMs } of operations) {
    if (action.f !== 'add') continue;
    if (returnedMs === Number.POSITIVE_INFINITY) {
      undecided += action.delta;
      continue;
    }
    acknowledged += action.delta;
    if (results.has(action.result)) faults.push(`${key}: two increments were answered ${action.result}`);
    results.add(action.result);
  }
  if (finalValue < acknowledged || finalValue > acknowledged + undecided) {
    faults.push(`${key}: is ${finalValue}, must be ${acknowledged} to ${acknowledged + undecided}`);
  }
  return faults;
}
