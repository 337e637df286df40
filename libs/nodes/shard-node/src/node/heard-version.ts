import { CairnError, Gates, messageOf, rethrowInvariant, versionMisfit, type GateView } from '@cairn/base';
import type { Disk, Logger } from '@cairn/ports';
import { readClusterVersion, writeClusterVersion } from '@cairn/store';
import type { BuildVersions } from '@cairn/wire';

export interface HeardVersionOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly name: string;
  readonly build: BuildVersions;
  readonly logger: Logger;
}

/**
 * The newest cluster version that a shard node has heard of, on its disk before a gate opens: a process that
 * is started again, whoever it reaches, closes none behind which this one may have written.
 */
export class HeardVersion {
  readonly #options: HeardVersionOptions;
  readonly #gates: Gates;
  #isWriting = false;

  private constructor(options: HeardVersionOptions, clusterVersion: number) {
    this.#options = options;
    this.#gates = new Gates(clusterVersion);
  }

  /**
   * Reads what was heard by earlier processes. Rejects FAILED_PRECONDITION when the directory was used at a
   * version that this build does not run with: before anything in it is changed.
   */
  static async open(options: HeardVersionOptions): Promise<HeardVersion> {
    const { disk, directory, name, build } = options;
    const clusterVersion = await readClusterVersion(disk, directory);
    const misfit = versionMisfit({ who: `shard "${name}"`, ...build }, clusterVersion);
    if (misfit !== undefined) {
      const where = `, as its data directory ${directory} says`;
      throw new CairnError(misfit.code, misfit.message + where);
    }
    return new HeardVersion(options, clusterVersion);
  }

  get gates(): GateView {
    return this.#gates;
  }

  /**
   * Keeps it, and opens the gates. Rejects with what the disk says, and with FAILED_PRECONDITION for a
   * version that this build does not run with: a cluster rises to none before all its nodes can, so who says
   * that is not the metadata service of this cluster. The gates stay as they are then.
   */
  async keep(clusterVersion: number): Promise<void> {
    if (clusterVersion <= this.#gates.clusterVersion) return;
    const { disk, directory, logger, name, build } = this.#options;
    const misfit = versionMisfit({ who: `shard "${name}"`, ...build }, clusterVersion);
    if (misfit !== undefined) throw misfit;
    await writeClusterVersion(disk, directory, clusterVersion);
    logger.info('cluster version heard', { from: this.#gates.clusterVersion, to: clusterVersion });
    this.#gates.raise(clusterVersion);
  }

  /** The same while the node runs: it waits for no disk, and what fails is done with the next heartbeat. */
  heard(clusterVersion: number): void {
    if (this.#isWriting || clusterVersion <= this.#gates.clusterVersion) return;
    this.#isWriting = true;
    this.keep(clusterVersion)
      .catch((error: unknown) => {
        rethrowInvariant(error);
        this.#options.logger.info('cluster version not kept', { reason: messageOf(error) });
      })
      .finally(() => {
        this.#isWriting = false;
      });
  }
}
