import type { Operation } from './history.js';
import { Minimiser, type Contradiction } from './linear/minimise.js';
import { buildModel } from './linear/model.js';
import { Sweep, type SweepEnd, type SweepLimits } from './linear/sweep.js';

export type { Contradiction } from './linear/minimise.js';

export type LinearizabilityResult =
  | { readonly type: 'linearizable' }
  /** No order explains the operations, nor those in `upTo`, which is a small part of them. */
  | ({ readonly type: 'violated'; readonly key: string } & Contradiction)
  /** Neither could be shown with the memory and time allowed. */
  | { readonly type: 'undecided'; readonly key: string };

const EXACTLY = Number.POSITIVE_INFINITY;

/**
 * Tried in turn until one is certain. Leaving configurations out finds an explanation sooner, and what it finds
 * is one; counting unknown operations as any number shows sooner that there is none.
 */
const ATTEMPTS: readonly SweepLimits[] = [
  { widthMax: 16, plentyAbove: EXACTLY },
  { widthMax: 128, plentyAbove: EXACTLY },
  { widthMax: 2_000, plentyAbove: 0 },
  { widthMax: 1_000, plentyAbove: EXACTLY },
  { widthMax: 10_000, plentyAbove: 2 },
  { widthMax: 20_000, plentyAbove: EXACTLY },
];

/** Judges the operations of one key, which nobody has written before. All must be of that key. */
export function checkKey(key: string, operations: readonly Operation[]): LinearizabilityResult {
  const model = buildModel(operations);
  for (const limits of ATTEMPTS) {
    const end: SweepEnd = new Sweep(model, limits).run();
    if (!end.isExact) continue;
    if (end.type === 'explained') return { type: 'linearizable' };
    return { type: 'violated', key, ...new Minimiser(limits).shrink(operations, end.culprit.operation) };
  }
  return { type: 'undecided', key };
}
