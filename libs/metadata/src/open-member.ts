import { assert, rangeId, replicaId, storeId, type RangeDescriptor } from '@cairn/base';
import { timingOf, type MetadataConfig } from '@cairn/config';
import type { KvEngine } from '@cairn/engine';
import type { Clock, Connection, Disk, Logger, Metrics, Rng, Transport } from '@cairn/ports';
import { DEFAULT_STORE_CONFIG, openIdentity, SessionLinks, Store, type StoreConfig } from '@cairn/store';
import {
  acceptSession,
  createRpcServer,
  PROTOCOL_VERSION,
  type Hello,
  type Session,
  type SessionHandlers,
} from '@cairn/wire';

import type { MetadataMember } from './leadership.js';
import { createMetadataNode, type MetadataNode } from './metadata-node.js';
import { MetadataStateMachine } from './metadata-state-machine.js';

/** The metadata service is one group, of its own stores: this is its only range. */
const METADATA_RANGE = rangeId(0);

export interface MemberPorts {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly disk: Disk;
  readonly transport: Transport;
  /** Opens the engine of the member, below its directory. */
  openEngine(): Promise<KvEngine>;
}

/** What a member needs from its process. */
export interface MemberContext {
  readonly config: MetadataConfig;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** What has no name in the configuration, for hosts that need it otherwise. */
  readonly storeConfig?: Partial<StoreConfig>;
  /** Its log or engine failed: nothing may be acknowledged any more, the process ends. */
  onFatal(error: Error): void;
}

/** A member of the metadata group that is open: store, sessions and service. */
export interface RunningMember {
  /** Where the framed transport listens, with the real port. */
  readonly address: string;
  readonly store: Store;
  readonly node: MetadataNode;
  /** Empty = ready, which is to be part of a group that has a leader; else why not. */
  readiness(): string[];
  /** Stops accepting, stops the service, closes the group and the engine, in this order. */
  close(): Promise<void>;
}

/**
 * Opens a member, in a directory that the caller holds alone: identity, engine, store, group, service, doors.
 */
export async function openMember(ports: MemberPorts, context: MemberContext): Promise<RunningMember> {
  const { dataDirectory, name } = context.config;
  await openIdentity(ports.disk, ports.rng, dataDirectory, name);
  const engine = await ports.openEngine();
  return new Member(ports, context, new MetadataStateMachine(engine)).open(engine);
}

function membersOf(config: MetadataConfig): MetadataMember[] {
  return config.peers.map((peer, at) => ({
    name: peer.name,
    storeId: storeId(at + 1),
    address: peer.address,
  }));
}

/** The group's members are configured, not learned, so its first descriptor is known to all. */
function groupDescriptor(members: readonly MetadataMember[]): RangeDescriptor {
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

/** One member while it runs. */
class Member {
  readonly #ports: MemberPorts;
  readonly #context: MemberContext;
  readonly #machine: MetadataStateMachine;
  readonly #members: readonly MetadataMember[];
  readonly #sessions = new Set<Session>();
  /** Members that hold a raft session to this one, by store id. */
  readonly #reachable = new Map<number, number>();
  #node: MetadataNode | undefined;

  constructor(ports: MemberPorts, context: MemberContext, machine: MetadataStateMachine) {
    this.#ports = ports;
    this.#context = context;
    this.#machine = machine;
    this.#members = membersOf(context.config);
  }

  async open(engine: KvEngine): Promise<RunningMember> {
    const { clock, rng, disk, transport } = this.#ports;
    const { config, logger, metrics } = this.#context;
    const self = this.#members.find((member) => member.name === config.name);
    assert(self !== undefined, 'the configuration names this member');
    const links = new SessionLinks({
      transport,
      clock,
      rng,
      logger,
      metrics,
      storeId: self.storeId,
      hello: (purpose) => this.#hello(self, purpose),
      peerLost: (id) => {
        store.peerLost(id);
      },
    });
    const store: Store = await Store.open({
      storeId: self.storeId,
      directory: config.dataDirectory,
      disk,
      clock,
      rng,
      logger,
      metrics,
      engine,
      config: { ...DEFAULT_STORE_CONFIG, ...timingOf(config), ...this.#context.storeConfig },
      logSegmentBytes: config.raftLogSegmentBytes,
      logCacheBytes: config.raftLogCacheBytes,
      links,
      openSnapshotChannel: (to) => links.openSnapshotChannel(to),
      machineFor: () => this.#machine,
      onFatal: (error) => {
        this.#context.onFatal(error);
      },
    });
    await store.createReplica(groupDescriptor(this.#members));
    const group = store.group(METADATA_RANGE);
    assert(group !== undefined, 'the group was just created');
    const server = createRpcServer({ clock, logger });
    const node = createMetadataNode({
      machine: this.#machine,
      group,
      server,
      name: config.name,
      members: this.#members,
      expectedStores: config.expectedStores,
      clock,
      rng,
      logger,
      metrics,
      isMemberLive: (member) => (this.#reachable.get(member.storeId) ?? 0) > 0,
    });
    this.#node = node;
    const listener = await transport.listen(config.listen, (connection) => {
      this.#accept(connection, self, (session, remote) =>
        remote.purpose === 'rpc' ? server.attach(session) : links.handlersFor(session, remote, store),
      );
    });
    links.setPeers(this.#members.map(({ storeId: id, address }) => ({ storeId: id, address })));
    return {
      address: listener.address,
      store,
      node,
      readiness: () => (group.leaderReplicaId === 0 ? ['the group has no leader'] : []),
      close: async () => {
        node.stop();
        await listener.close();
        for (const session of this.#sessions) session.close();
        await store.close();
        await engine.close();
      },
    };
  }

  #hello(self: MetadataMember, purpose: Hello['purpose']): Hello {
    return {
      protocolVersion: PROTOCOL_VERSION,
      purpose,
      clusterId: this.#node?.clusterId ?? '',
      kind: 'metadata',
      name: self.name,
      storeId: self.storeId,
    };
  }

  #accept(
    connection: Connection,
    self: MetadataMember,
    handlersFor: (session: Session, remote: Hello) => SessionHandlers,
  ): void {
    acceptSession(connection, {
      hello: (remote) => this.#hello(self, remote.purpose),
      clock: this.#ports.clock,
      logger: this.#context.logger,
      onSession: (session, remote) => {
        const inner = handlersFor(session, remote);
        this.#sessions.add(session);
        const isMember = remote.purpose === 'raft';
        if (isMember) this.#count(remote.storeId, 1);
        return {
          onFrame: (type, body) => {
            inner.onFrame(type, body);
          },
          onClose: (error) => {
            this.#sessions.delete(session);
            if (isMember) this.#count(remote.storeId, -1);
            inner.onClose(error);
          },
        };
      },
    });
  }

  #count(id: number, change: number): void {
    this.#reachable.set(id, (this.#reachable.get(id) ?? 0) + change);
  }
}
