import type { RangeDescriptor } from '@cairn/base';
import type { Logger } from '@cairn/ports';

import type { HeldReplicas } from './held-replicas.js';
import type { Replica } from './replica.js';
import type { SpanIndex } from './span-index.js';
import type { EngineSpan } from './state-machine.js';

export interface OwnRowsParts {
  readonly spans: Pick<SpanIndex<Replica>, 'allOverlapping'>;
  readonly held: Pick<HeldReplicas, 'allOverlapping'>;
  readonly logger: Logger;
  /** Where the rows of such a range are. */
  spansOf(descriptor: RangeDescriptor): readonly EngineSpan[];
}

/**
 * The second line of defence of rows that are about to be deleted with their range. Spans of replicas of one
 * store never overlap; but what a range was before it was cut would take the rows of what was cut off. Where
 * two claim the same keys, they belong to the one with the higher version, which was cut off the other.
 */
export class OwnRows {
  readonly #parts: OwnRowsParts;

  constructor(parts: OwnRowsParts) {
    this.#parts = parts;
  }

  /** What of the spans of the range, as its descriptor says, no later range on this store covers. */
  of(owner: RangeDescriptor): EngineSpan[] {
    const { held, logger, spans } = this.#parts;
    let own = [...this.#parts.spansOf(owner)];
    const others = [
      ...spans.allOverlapping(owner).map(({ descriptor }) => descriptor),
      ...held.allOverlapping(owner),
    ];
    for (const other of others) {
      if (other.epoch.version <= owner.epoch.version) continue;
      logger.warn('a range covers keys of a later one, whose rows stay', {
        range: owner.rangeId,
        later: other.rangeId,
      });
      own = without(own, this.#parts.spansOf(other));
    }
    return own;
  }
}

/** What is left of the spans outside the others. */
export function without(spans: readonly EngineSpan[], others: readonly EngineSpan[]): EngineSpan[] {
  let left = [...spans];
  for (const other of others) {
    left = left.flatMap(({ start, end }) => {
      const before = { start, end: Buffer.compare(end, other.start) <= 0 ? end : other.start };
      const behind = { start: Buffer.compare(start, other.end) >= 0 ? start : other.end, end };
      if (before.end === end) return [before];
      if (behind.start === start) return [behind];
      return [before, behind].filter((span) => Buffer.compare(span.start, span.end) < 0);
    });
  }
  return left;
}
