import type { RangeId } from '@cairn/base';
import type { SnapshotMeta } from '@cairn/raft';

import type { Applier } from './applier.js';
import type { Replica } from './replica.js';
import type { SnapshotInstaller } from './snapshot-install.js';
import type { StoreLife } from './store-life.js';

export interface InstallationsParts {
  readonly installer: Pick<SnapshotInstaller, 'install'>;
  readonly applier: Pick<Applier, 'unblock'>;
  readonly life: Pick<StoreLife, 'fatal'>;
  /** Tells whoever hosts the store. */
  changed(rangeId: RangeId): void;
}

/** Snapshots that cores have accepted, on their way into the engine. */
export class Installations {
  readonly #parts: InstallationsParts;

  constructor(parts: InstallationsParts) {
    this.#parts = parts;
  }

  /** The core stands still until it hears `snapshotInstalled`. */
  begin(replica: Replica, meta: SnapshotMeta): void {
    const { applier, installer, life } = this.#parts;
    replica.installation = installer.install(replica, meta).then(() => {
      replica.installation = undefined;
      replica.isMachineOpen = true;
      if (replica.isClosed) return;
      replica.raft.snapshotInstalled(meta);
      this.#parts.changed(replica.rangeId);
      applier.unblock(replica);
      replica.wake();
    }, life.fatal);
  }
}
