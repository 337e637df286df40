import { CommandOutcome, WriteBatchBuilder } from '@cairn/mvcc';

import { ApplyVisitor } from './apply-visitor.js';

/**
 * What a machine needs within one call of the store, and leaves empty. One for all machines of a store, so
 * that it stays in the processor's cache when thousands of ranges take turns.
 */
export class KvScratch {
  /** The entry of the turn under way: empty again before the machine's turn ends. */
  readonly builder = new WriteBatchBuilder();
  readonly outcome = new CommandOutcome();
  readonly visitor = new ApplyVisitor();
}
