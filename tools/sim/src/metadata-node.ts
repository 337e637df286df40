import { loadConfig, metadataConfig } from '@cairn/config';
import { openMember, type MetadataMember, type RunningMember } from '@cairn/metadata';
import { noopMetrics } from '@cairn/ports';
import type { Replica, Store, StoreConfig } from '@cairn/store';

import { SimNode, type NodePorts, type SimWorld } from './sim-node.js';

export interface SimMetadataOptions {
  readonly members: readonly MetadataMember[];
  readonly expectedStores: number;
  readonly storeConfig: StoreConfig;
  readonly logSegmentBytes: number;
}

/** A member of the metadata service as its process runs it, on simulated ports. */
export class SimMetadataNode extends SimNode {
  readonly #options: SimMetadataOptions;
  readonly #self: MetadataMember;
  /** What `--peers` of the next start says: in another order than before, or wrong. */
  peers: readonly Pick<MetadataMember, 'name' | 'address'>[];
  /** Of the next start: whose lost directory this member takes a new one for. */
  acceptNewDirectoryOf = '';
  #member: RunningMember | undefined;

  constructor(self: MetadataMember, world: SimWorld, options: SimMetadataOptions) {
    super(self.name, world);
    this.#self = self;
    this.#options = options;
    // Each member is told the others in an order of its own.
    const at = options.members.indexOf(self);
    this.peers = [...options.members.slice(at), ...options.members.slice(0, at)];
  }

  get address(): string {
    return this.#self.address;
  }

  get store(): Store | undefined {
    return this.#member?.store;
  }

  get isServing(): boolean {
    return this.isAlive && this.#member?.node.isServing === true;
  }

  replicas(): Iterable<Replica> {
    return this.store?.replicas() ?? [];
  }

  protected async open(ports: NodePorts): Promise<void> {
    // Nothing may hang on the order.
    this.peers = this.peers.toReversed();
    const { expectedStores, storeConfig, logSegmentBytes } = this.#options;
    const argv = [
      ...['--name', this.name],
      ...['--listen', this.#self.address],
      ...['--data-directory', '/data'],
      ...['--peers', this.peers.map(({ name, address }) => `${name}=${address}`).join()],
      ...['--expected-stores', String(expectedStores)],
      ...(this.acceptNewDirectoryOf === '' ? [] : ['--accept-new-directory-of', this.acceptNewDirectoryOf]),
    ];
    const { values } = loadConfig({ ...metadataConfig, argv, env: {} });
    this.#member = await openMember(ports, {
      // Smaller than anybody may configure, so that logs turn over.
      config: { ...values, raftLogSegmentBytes: logSegmentBytes },
      logger: ports.logger,
      metrics: noopMetrics,
      storeConfig,
      build: this.build,
      onFatal: (error) => {
        this.ended('fatal', error);
      },
    });
    this.world.observer.note(this.name, 'is open');
  }

  protected forget(): void {
    this.#member = undefined;
  }
}
