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
 * Tried in turn until one is certain. Leaving configurations out finds an explanation sooner, and what it
 * finds is one; counting unknown operations as any number shows sooner that there is none.
 */
const ATTEMPTS: readonly SweepLimits[] = [
  { widthMin: 16, widthMax: 4_096, plentyAbove: EXACTLY, stepsMax: 3_000_000 },
  { widthMin: 2_000, widthMax: 2_000, plentyAbove: 0, stepsMax: 3_000_000 },
  { widthMin: 64, widthMax: 16_384, plentyAbove: EXACTLY, stepsMax: 6_000_000 },
];

/** Judges the operations of one key, which nobody has written before. All must be of that key. */
export function checkKey(key: string, operations: readonly Operation[]): LinearizabilityResult {
  for (const limits of ATTEMPTS) {
    const end: SweepEnd = new Sweep(buildModel(operations), limits).run();
    if (end.type === 'explained') {
      if (end.isExact) return { type: 'linearizable' };
      continue;
    }
    // A part that contradicts itself is proof, also where the sweep had left something out.
    const contradiction = new Minimiser().find(operations, end.at);
    if (contradiction !== undefined) return { type: 'violated', key, ...contradiction };
    if (end.isExact)
      return {
        type: 'violated',
        key,
        initial: [undefined],
        upTo: operations,
        culprit: end.culprit.operation,
      };
  }
  return { type: 'undecided', key };
}
