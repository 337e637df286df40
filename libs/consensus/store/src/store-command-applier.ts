import type { VersionRange } from '@cairn/base';
import type { Entry } from '@cairn/raft';

import { noopApplied } from './noop.js';
import type { Replica } from './replica.js';
import type { SplitApplier } from './split-apply.js';
import { decodeStoreCommand } from './store-commands.js';

/** Carries out the commands of the store itself, each alone. */
export class StoreCommandApplier {
  readonly #splits: Pick<SplitApplier, 'apply'>;
  readonly #known: VersionRange;

  /** `known`: the cluster versions whose commands this build reads. */
  constructor(splits: Pick<SplitApplier, 'apply'>, known: VersionRange) {
    this.#splits = splits;
    this.#known = known;
  }

  /** Rejects with FORMAT_TOO_NEW for a command of a later release: the replica must halt, never skip. */
  async apply(replica: Replica, entry: Entry): Promise<void> {
    const command = decodeStoreCommand(entry.payload, this.#known);
    if (command.type === 'noop') noopApplied(replica, command);
    else await this.#splits.apply(replica, entry, command);
  }
}
