import { CairnError, messageOf, rethrowInvariant } from '@cairn/base';
import type { EngineStats, KvEngine } from '@cairn/engine';
import { rowSpansOf } from '@cairn/mvcc';
import type { Clock, Logger } from '@cairn/ports';

export interface EngineOperatorParts {
  readonly engine: KvEngine;
  /** What operators are shown, whatever an engine that is built on another one says of itself. */
  readonly name: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Of the compaction that was asked for last. */
export interface CompactionState {
  readonly running: boolean;
  readonly startedUnixMs: number;
  /** How long it takes so far, or took; whole. */
  readonly durationMs: number;
  /** Why it did not get done; empty = it did, or runs. */
  readonly problem: string;
}

interface Compaction {
  readonly startedUnixMs: number;
  readonly startedMs: number;
  endedMs: number | undefined;
  problem: string;
}

/** What operators may look at in the engine of a node, and have it do: one compaction at a time. */
export class EngineOperator {
  readonly #parts: EngineOperatorParts;
  #compaction: Compaction | undefined;

  constructor(parts: EngineOperatorParts) {
    this.#parts = parts;
  }

  async stats(): Promise<EngineStats> {
    const { engine, name } = this.#parts;
    return { ...(await engine.stats()), engine: name };
  }

  /** Undefined when none was asked for since the start of the node. */
  get compaction(): CompactionState | undefined {
    if (this.#compaction === undefined) return undefined;
    const { startedUnixMs, startedMs, endedMs, problem } = this.#compaction;
    const untilMs = endedMs ?? this.#parts.clock.nowMs();
    const durationMs = Math.round(untilMs - startedMs);
    return { running: endedMs === undefined, startedUnixMs, durationMs, problem };
  }

  /**
   * Begins to compact the rows of [start, end), an empty end = to the last one, in all namespaces. The
   * engine takes a step at a time, and its other work comes in between. Throws FAILED_PRECONDITION while
   * another one runs.
   */
  compact(start: Uint8Array, end: Uint8Array): void {
    const { clock, logger } = this.#parts;
    if (this.#compaction?.endedMs === undefined && this.#compaction !== undefined) {
      throw new CairnError('FAILED_PRECONDITION', 'a compaction runs on this node already');
    }
    const compaction: Compaction = {
      startedUnixMs: Math.round(clock.unixMs()),
      startedMs: clock.nowMs(),
      endedMs: undefined,
      problem: '',
    };
    this.#compaction = compaction;
    logger.info('compaction begun', {});
    this.#compactSpans(start, end)
      .catch((error: unknown) => {
        rethrowInvariant(error);
        compaction.problem = messageOf(error);
        logger.warn('compaction not done', { reason: compaction.problem });
      })
      .finally(() => {
        compaction.endedMs = clock.nowMs();
        if (compaction.problem === '') {
          logger.info('compaction done', { tookMs: compaction.endedMs - compaction.startedMs });
        }
      });
  }

  async #compactSpans(start: Uint8Array, end: Uint8Array): Promise<void> {
    for (const span of rowSpansOf(start, end)) await this.#parts.engine.compact(span.start, span.end);
  }
}
