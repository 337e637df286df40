import { assert, rangeId, replicaId, storeId, type RangeDescriptor } from '@cairn/base';
import { timingOf, type MetadataConfig } from '@cairn/config';
import { openClassicLevelEngine } from '@cairn/engine/classic-level';
import {
  createMetadataNode,
  MetadataStateMachine,
  type MetadataMember,
  type MetadataNode,
} from '@cairn/metadata';
import type { Clock, Connection, Disk, Rng, Transport } from '@cairn/ports';
import { lockDirectory } from '@cairn/runtime-node';
import { DEFAULT_STORE_CONFIG, openIdentity, SessionLinks, Store } from '@cairn/store';
import {
  acceptSession,
  createRpcServer,
  PROTOCOL_VERSION,
  type Hello,
  type Session,
  type SessionHandlers,
} from '@cairn/wire';

import type { MemberContext, OpenMember, RunningMember } from './member.js';

/** The metadata service is one group, of its own stores: this is its only range. */
const METADATA_RANGE = rangeId(0);

export interface MemberPorts {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly disk: Disk;
  readonly transport: Transport;
}

/** How this process opens its member: lock, identity, engine, store, group, service, doors, in this order. */
export function memberOpener(ports: MemberPorts): OpenMember {
  return async (context) => {
    const { config, logger } = context;
    await ports.disk.makeDirectory(config.dataDirectory);
    const lock = await lockDirectory(config.dataDirectory);
    try {
      await openIdentity(ports.disk, ports.rng, config.dataDirectory, config.name);
      const engine = await openClassicLevelEngine({
        path: `${config.dataDirectory}/engine`,
        blockCacheBytes: config.blockCacheBytes,
        writeBufferBytes: config.writeBufferBytes,
        logger,
        metrics: context.metrics,
      });
      const machine = new MetadataStateMachine(engine);
      const member = new Member(ports, context, machine);
      const running = await member.open(engine);
      return {
        address: running.address,
        readiness: () => running.readiness(),
        close: async () => {
          await running.close();
          await engine.close();
          await lock.release();
        },
      };
    } catch (error) {
      await lock.release();
      throw error;
    }
  };
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

  async open(engine: ConstructorParameters<typeof MetadataStateMachine>[0]): Promise<RunningMember> {
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
      config: { ...DEFAULT_STORE_CONFIG, ...timingOf(config) },
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
    this.#node = createMetadataNode({
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
    const listener = await transport.listen(config.listen, (connection) => {
      this.#accept(connection, self, (session, remote) =>
        remote.purpose === 'rpc' ? server.attach(session) : links.handlersFor(session, remote, store),
      );
    });
    links.setPeers(this.#members.map(({ storeId: id, address }) => ({ storeId: id, address })));
    return {
      address: listener.address,
      readiness: () => {
        const leads = group.leaderReplicaId !== 0;
        return leads ? { ready: true, reasons: [] } : { ready: false, reasons: ['the group has no leader'] };
      },
      close: async () => {
        this.#node?.stop();
        await listener.close();
        for (const session of this.#sessions) session.close();
        await store.close();
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
