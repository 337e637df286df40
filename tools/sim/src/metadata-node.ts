import { rangeId, replicaId, storeId, type RangeDescriptor } from '@cairn/base';
import {
  createMetadataNode,
  MetadataStateMachine,
  type MetadataMember,
  type MetadataNode,
} from '@cairn/metadata';
import { noopMetrics, type Connection } from '@cairn/ports';
import { openIdentity, SessionLinks, Store, type Replica, type StoreConfig } from '@cairn/store';
import {
  acceptSession,
  createRpcServer,
  PROTOCOL_VERSION,
  type Hello,
  type Session,
  type SessionHandlers,
} from '@cairn/wire';

import { SimNode, type NodePorts, type SimWorld } from './sim-node.js';

export const METADATA_RANGE = rangeId(0);

export interface SimMetadataOptions {
  readonly members: readonly MetadataMember[];
  readonly expectedStores: number;
  readonly storeConfig: StoreConfig;
  readonly logSegmentBytes: number;
}

function descriptorOf(members: readonly MetadataMember[]): RangeDescriptor {
  return {
    rangeId: METADATA_RANGE,
    startKey: Buffer.alloc(0),
    endKey: Buffer.alloc(0),
    epoch: { version: 1, confVersion: 1 },
    replicas: members.map((member) => ({
      replicaId: replicaId(member.storeId),
      storeId: member.storeId,
      role: 'voter',
    })),
  };
}

/** A member of the metadata service, wired as its process wires it, on simulated ports. */
export class SimMetadataNode extends SimNode {
  readonly #options: SimMetadataOptions;
  readonly #self: MetadataMember;
  #store: Store | undefined;
  #node: MetadataNode | undefined;

  constructor(self: MetadataMember, world: SimWorld, options: SimMetadataOptions) {
    super(self.name, world);
    this.#self = self;
    this.#options = options;
  }

  get store(): Store | undefined {
    return this.#store;
  }

  get isServing(): boolean {
    return this.isAlive && this.#node?.isServing === true;
  }

  replicas(): Iterable<Replica> {
    return this.store?.replicas() ?? [];
  }

  protected async open(ports: NodePorts): Promise<void> {
    const { clock, rng, disk, transport, logger, engine } = ports;
    const self = this.#self;
    await disk.makeDirectory('/data');
    await openIdentity(disk, rng, '/data', self.name);
    const machine = new MetadataStateMachine(engine);
    const life: { store: Store | undefined } = { store: undefined };
    const links = new SessionLinks({
      transport,
      clock,
      rng,
      logger,
      metrics: noopMetrics,
      storeId: self.storeId,
      hello: (purpose) => this.#hello(purpose),
      peerLost: (id) => {
        life.store?.peerLost(id);
      },
    });
    const store = await Store.open({
      storeId: storeId(self.storeId),
      directory: '/data',
      disk,
      clock,
      rng,
      logger,
      metrics: noopMetrics,
      engine,
      config: this.#options.storeConfig,
      logSegmentBytes: this.#options.logSegmentBytes,
      links,
      openSnapshotChannel: (to) => links.openSnapshotChannel(to),
      machineFor: () => machine,
      onFatal: (error) => {
        this.ended('fatal', error);
      },
    });
    life.store = store;
    this.#store = store;
    await store.createReplica(descriptorOf(this.#options.members));
    await this.#serve(ports, machine, { store, links });
  }

  async #serve(
    ports: NodePorts,
    machine: MetadataStateMachine,
    { store, links }: { readonly store: Store; readonly links: SessionLinks },
  ): Promise<void> {
    const { clock, rng, transport, logger } = ports;
    const group = store.group(METADATA_RANGE);
    if (group === undefined) throw new Error('the group was just created');
    const server = createRpcServer({ clock, logger });
    const { members, expectedStores } = this.#options;
    this.#node = createMetadataNode({
      machine,
      group,
      server,
      name: this.name,
      members,
      expectedStores,
      clock,
      rng,
      logger,
      metrics: noopMetrics,
      isMemberLive: () => true,
    });
    await transport.listen(this.#self.address, (connection) => {
      this.#accept(connection, ports, (session, remote) =>
        remote.purpose === 'rpc' ? server.attach(session) : links.handlersFor(session, remote, store),
      );
    });
    links.setPeers(members.map((member) => ({ storeId: member.storeId, address: member.address })));
    this.world.observer.note(this.name, 'is open');
  }

  #accept(
    connection: Connection,
    ports: NodePorts,
    onSession: (session: Session, remote: Hello) => SessionHandlers,
  ): void {
    acceptSession(connection, {
      hello: (remote) => this.#hello(remote.purpose),
      clock: ports.clock,
      logger: ports.logger,
      onSession,
    });
  }

  #hello(purpose: Hello['purpose']): Hello {
    return {
      protocolVersion: PROTOCOL_VERSION,
      purpose,
      clusterId: this.#node?.clusterId ?? '',
      kind: 'metadata',
      name: this.name,
      storeId: this.#self.storeId,
    };
  }

  protected forget(): void {
    this.#store = undefined;
    this.#node = undefined;
  }
}
