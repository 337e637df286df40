import {
  assert,
  CairnError,
  Closers,
  messageOf,
  NO_BYTES,
  rangeId,
  replicaId,
  rethrowInvariant,
  type RangeDescriptor,
  type StoreId,
} from '@cairn/base';
import { timingOf, type MetadataConfig } from '@cairn/config';
import type { KvEngine } from '@cairn/engine';
import type { Clock, Connection, Disk, Listener, Logger, Metrics, Rng, Transport } from '@cairn/ports';
import {
  DEFAULT_STORE_CONFIG,
  openIdentity,
  SessionLinks,
  Store,
  type NodeIdentity,
  type ReplicaGroup,
  type StoreConfig,
  type StoreOptions,
} from '@cairn/store';
import {
  SessionAcceptor,
  createRpcServer,
  openSession,
  THIS_BUILD,
  type BuildVersions,
  type Hello,
  type RpcServer,
  type Session,
  type SessionHandlers,
} from '@cairn/wire';

import { ClockAsks } from './clock-asks.js';
import { formGroup } from './form-group.js';
import { formedMembers, MemberGate, plannedMembers } from './group-members.js';
import type { MetadataMember } from './leadership.js';
import { MemberClocks } from './member-clocks.js';
import { MemberContacts } from './member-contacts.js';
import { MemberTroubles } from './member-troubles.js';
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
  /** What a member that is being opened waits for, in sentences: for its readiness. Empty = for nobody. */
  onWaiting?(reasons: readonly string[]): void;
  /** What this process runs. Default: this build; others are for tests. */
  readonly build?: BuildVersions;
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
 * Opens a member, in a directory that the caller holds alone: identity, door, group, engine, store,
 * service. The first start of all waits until every member of the group has been started.
 *
 * Rejects with a sentence: FAILED_PRECONDITION (the configuration names another group), NAME_TAKEN (the group
 * was formed with another directory of this member).
 */
export async function openMember(ports: MemberPorts, context: MemberContext): Promise<RunningMember> {
  const { dataDirectory, name, peers } = context.config;
  const others = peers.map((peer) => peer.name).filter((peer) => peer !== name);
  const identity = await openIdentity(ports, dataDirectory, { name, kind: 'metadata' }, others);
  return new Member(ports, context, identity).open();
}

/** The group's members are the ones that formed it, so its first descriptor is known to all. */
function groupDescriptor(members: readonly MetadataMember[]): RangeDescriptor {
  return {
    rangeId: METADATA_RANGE,
    startKey: NO_BYTES,
    endKey: NO_BYTES,
    epoch: { version: 1, confVersion: 1 },
    replicas: members.map((member) => ({
      replicaId: replicaId(member.storeId),
      storeId: member.storeId,
      role: 'voter',
    })),
  };
}

/** What a member has once its store is open. */
interface OpenedMember {
  readonly group: ReplicaGroup;
  readonly node: MetadataNode;
  /** Whose a session is, by what it is for. */
  handlersFor(session: Session, remote: Hello): SessionHandlers;
}

/** A member while it runs: its store, its sessions, its service. */
class Member {
  readonly #ports: MemberPorts;
  readonly #context: MemberContext;
  readonly #members: readonly MetadataMember[];
  readonly #self: MetadataMember;
  readonly #gate: MemberGate;
  readonly #sessions = new Set<Session>();
  readonly #acceptor: SessionAcceptor;
  readonly #contacts: MemberContacts;
  readonly #clocks: MemberClocks;
  readonly #disownedBy = new Set<string>();
  readonly #build: BuildVersions;
  /**
   * Members show themselves to each other from the first moment on, with the version that the engine knows.
   */
  #machine: MetadataStateMachine | undefined;
  /** Undefined until the group is formed and the store is open. */
  #opened: OpenedMember | undefined;

  constructor(ports: MemberPorts, context: MemberContext, identity: NodeIdentity) {
    const { peers, name, dataDirectory } = context.config;
    this.#ports = ports;
    this.#context = context;
    this.#build = context.build ?? THIS_BUILD;
    this.#contacts = new MemberContacts(ports.clock);
    this.#acceptor = new SessionAcceptor({
      clock: ports.clock,
      logger: context.logger,
      metrics: context.metrics,
      transport: ports.transport,
    });
    this.#members =
      identity.members.length === 0 ? plannedMembers(peers) : formedMembers(name, identity.members, peers);
    const self = this.#members.find((member) => member.name === name);
    assert(self !== undefined, 'the configuration names this member');
    this.#self = self;
    this.#clocks = new MemberClocks(
      ports.clock,
      name,
      this.#members.map((member) => member.name),
    );
    this.#gate = new MemberGate({
      disk: ports.disk,
      clock: ports.clock,
      directory: dataDirectory,
      identity,
      members: this.#members,
      logger: context.logger,
      newDirectoryOf: context.config.acceptNewDirectoryOf,
      isSettledWithout: (lost) => this.#hasLeader && this.#away().every((member) => member.name === lost),
      askProcess: (member) => this.#askProcess(member),
    });
  }

  async open(): Promise<RunningMember> {
    const { transport } = this.#ports;
    const { config } = this.#context;
    this.#warnOfSize();
    this.#warnOfNewDirectory();
    const listen = config.listen === '' ? this.#self.address : config.listen;
    const closers = new Closers();
    closers.add('gate', () => this.#gate.settled());
    const listener = await transport.listen(listen, (connection) => {
      this.#accept(connection);
    });
    closers.add('listener', () => listener.close());
    try {
      if (this.#gate.known.length === 0) await this.#form();
      return await this.#openStore(listener, closers);
    } catch (error) {
      rethrowInvariant(error);
      await closers.close().catch((failure: unknown) => {
        rethrowInvariant(failure);
        const reason = messageOf(failure);
        this.#context.logger.warn('the metadata member that did not start is not closed', { reason });
      });
      throw error;
    }
  }

  #warnOfSize(): void {
    const count = this.#members.length;
    if (count % 2 === 1) return;
    this.#context.logger.warn(
      'an even number of metadata members survives no more losses than one member less',
      {
        members: count,
        losses: count / 2 - 1,
      },
    );
  }

  /** Whoever forgets the flag should see it: with it, one lost directory more would be taken in silence. */
  #warnOfNewDirectory(): void {
    const { acceptNewDirectoryOf: member } = this.#context.config;
    if (member === '') return;
    this.#context.logger.warn('this start takes one new data directory of another member', {
      member,
      flag: 'accept-new-directory-of',
    });
  }

  async #form(): Promise<void> {
    const { transport, clock, rng } = this.#ports;
    const known = await formGroup({
      transport,
      clock,
      rng,
      logger: this.#context.logger,
      self: this.#self,
      members: this.#members,
      hello: (to) => this.#hello('rpc', to),
      onWaiting: (reasons) => {
        this.#context.onWaiting?.(reasons);
      },
      check: (remote) => {
        this.#gate.check(remote);
      },
    });
    await this.#gate.formed(known);
  }

  /** From the engine up; what was opened is told to the closers at once. */
  async #openStore(listener: Listener, closers: Closers): Promise<RunningMember> {
    const engine = await this.#ports.openEngine();
    closers.add('engine', () => engine.close());
    const machine = new MetadataStateMachine(engine, this.#build.clusterVersions);
    this.#machine = machine;
    const links = this.#openLinks(() => store);
    closers.add('links', () => {
      links.close();
    });
    const store: Store = await Store.open(this.#storeOptions(engine, machine, links));
    closers.add('store', () => store.close());
    await store.createReplica(groupDescriptor(this.#members));
    const group = store.group(METADATA_RANGE);
    assert(group !== undefined, 'the group was just created');
    const server = createRpcServer({ clock: this.#ports.clock, logger: this.#context.logger });
    const clockAsks = this.#clockAsks();
    const node = this.#serve(machine, group, server, clockAsks);
    closers.add('sessions', () => {
      for (const session of this.#sessions) session.close();
    });
    // Nobody comes in any more before those go that are in.
    closers.add('listener', () => listener.close());
    closers.add('service', () => {
      node.stop();
    });
    clockAsks.start();
    closers.add('questions for clocks', () => {
      clockAsks.stop();
    });
    const handlersFor = (session: Session, remote: Hello): SessionHandlers =>
      remote.purpose === 'rpc' ? server.attach(session) : links.handlersFor(session, remote, store);
    this.#opened = { group, node, handlersFor };
    links.setPeers(this.#members.map(({ storeId: id, address }) => ({ storeId: id, address })));
    return {
      address: listener.address,
      store,
      node,
      readiness: () => this.#reasons(store.disk.hangsMs),
      close: () => closers.close(),
    };
  }

  #storeOptions(engine: KvEngine, machine: MetadataStateMachine, links: SessionLinks): StoreOptions {
    const { clock, rng, disk } = this.#ports;
    const { config, logger, metrics } = this.#context;
    return {
      ...{ disk, clock, rng, logger, metrics, engine, links },
      storeId: this.#self.storeId,
      directory: config.dataDirectory,
      mark: this.#gate.storeMark(),
      config: { ...DEFAULT_STORE_CONFIG, ...timingOf(config), ...this.#context.storeConfig },
      logSegmentBytes: config.raftLogSegmentBytes,
      logCacheBytes: config.raftLogCacheBytes,
      gates: machine.gates,
      clusterVersions: this.#build.clusterVersions,
      openSnapshotChannel: (to) => links.openSnapshotChannel(to),
      machineFor: () => machine,
      spansOf: () => machine.spans(),
      onFatal: (error) => {
        this.#context.onFatal(error);
      },
    };
  }

  #serve(
    machine: MetadataStateMachine,
    group: ReplicaGroup,
    server: RpcServer,
    clockAsks: ClockAsks,
  ): MetadataNode {
    const { clock, rng } = this.#ports;
    const { config, logger, metrics } = this.#context;
    return createMetadataNode({
      ...{ machine, group, server, clock, rng, logger, metrics },
      name: config.name,
      members: this.#members,
      build: this.#build,
      expectedStores: config.expectedStores,
      wallTime: () => this.#clocks.read(),
      agreedUnixMs: () => clockAsks.agreedUnixMs(),
      memberAwayMs: ({ storeId: id }) => this.#contacts.awayMs(id),
      memberBuild: ({ storeId: id }) => this.#contacts.buildOf(id),
      isProcessConnected: (process) => this.#isProcessConnected(Buffer.from(process).toString('hex')),
    });
  }

  #clockAsks(): ClockAsks {
    const { transport, clock } = this.#ports;
    return new ClockAsks({
      ...{ transport, clock, logger: this.#context.logger, clocks: this.#clocks },
      others: this.#members.filter(({ name }) => name !== this.#self.name),
      hello: (to) => this.#hello('rpc', to),
    });
  }

  get #hasLeader(): boolean {
    return this.#opened !== undefined && this.#opened.group.leaderReplicaId !== 0;
  }

  #askProcess({ name, address }: MetadataMember): Promise<string | undefined> {
    const { transport, clock } = this.#ports;
    const { logger } = this.#context;
    const hello = this.#hello('rpc', name);
    return new Promise((resolve) => {
      const session = openSession({
        ...{ transport, address, clock, logger, hello },
        handlers: {
          onReady: () => {
            const { remote } = session;
            resolve(remote?.kind === 'metadata' && remote.name === name ? remote.life?.process : undefined);
            session.close();
          },
          onFrame: () => undefined,
          onClose: () => {
            resolve(undefined);
          },
        },
      });
    });
  }

  #isProcessConnected(process: string): boolean {
    for (const { remote } of this.#sessions) {
      if (remote?.kind === 'shard' && remote.life?.process === process) return true;
    }
    return false;
  }

  /** Why this member, which is open, is not ready. */
  #reasons(hangsMs: number): string[] {
    const reasons: string[] = [];
    if (!this.#hasLeader) reasons.push(`the group has no leader${this.#unreachable()}`);
    if (hangsMs > 0) reasons.push(`the disk has not answered for ${Math.round(hangsMs / 1000)} s`);
    return reasons;
  }

  /** Names the members that are not connected. */
  #away(): MetadataMember[] {
    return this.#members.filter(
      (member) => member !== this.#self && !this.#contacts.isConnected(member.storeId),
    );
  }

  /** Says the same to people who wait for a leader. */
  #unreachable(): string {
    const away = this.#away();
    if (away.length === 0) return '';
    return `; not connected: ${away.map(({ name, address }) => `${name} at ${address}`).join(', ')}`;
  }

  #openLinks(store: () => Store): SessionLinks {
    const { transport, clock, rng } = this.#ports;
    const { logger, metrics } = this.#context;
    const troubles = new MemberTroubles(logger, clock);
    return new SessionLinks({
      transport,
      clock,
      rng,
      logger,
      metrics,
      storeId: this.#self.storeId,
      hello: (purpose, to) => this.#hello(purpose, this.#nameOf(to)),
      peerLost: (id) => {
        store().peerLost(id);
      },
      linkUp: (id) => {
        const member = this.#members.find((one) => one.storeId === id);
        if (member === undefined) return;
        this.#gate.accepted(member.name);
        this.#disownedBy.delete(member.name);
      },
      linkFailed: (id, error) => {
        const member = this.#members.find((one) => one.storeId === id);
        if (member === undefined) return;
        troubles.failed(member, error);
        if (CairnError.is(error) && error.code === 'NAME_TAKEN') this.#disowned(member, error);
      },
    });
  }

  /**
   * Another member does not take this directory for the one that formed the group. When most of the others
   * say so, and have not taken it since, it must not go on; one alone may be somebody else who listens at the
   * address, or may have been told of another process that is gone.
   */
  #disowned(by: MetadataMember, error: CairnError): void {
    this.#disownedBy.add(by.name);
    const others = this.#members.length - 1;
    if (this.#disownedBy.size === Math.min(others, Math.floor(this.#members.length / 2) + 1)) {
      this.#context.onFatal(error);
    }
  }

  #nameOf(id: StoreId): string {
    return this.#members.find((member) => member.storeId === id)?.name ?? '';
  }

  /**
   * For the member `to`, with what this directory shows to it and to nobody else: whoever can show that to it
   * is this member.
   */
  #hello(purpose: Hello['purpose'], to: string): Hello {
    return { ...this.#answer(purpose), life: this.#gate.lifeFor(to) };
  }

  #answer(purpose: Hello['purpose']): Hello {
    const { config, storeConfig } = this.#context;
    const { leaseDurationMs, voteHoldMs } = { ...timingOf(config), ...storeConfig };
    const clusterVersion = this.#machine?.gates.clusterVersion ?? 0;
    return {
      ...this.#build,
      ...(clusterVersion === 0 ? {} : { clusterVersion }),
      purpose,
      clusterId: this.#opened?.node.clusterId ?? '',
      kind: 'metadata',
      name: this.#self.name,
      storeId: this.#self.storeId,
      timing: { leaseDurationMs, voteHoldMs },
    };
  }

  #accept(connection: Connection): void {
    this.#acceptor.accept(connection, {
      hello: (remote) => {
        this.#checkRemote(remote);
        return remote.kind === 'metadata'
          ? this.#hello(remote.purpose, remote.name)
          : this.#answer(remote.purpose);
      },
      onSession: (session, remote) => {
        // Of a member that waits for the group as this one does: the handshake was all it wanted.
        const inner = this.#opened?.handlersFor(session, remote);
        this.#sessions.add(session);
        const isMember = remote.purpose === 'raft';
        if (isMember) {
          this.#contacts.opened(remote);
          this.#gate.opened(session, remote);
        }
        return {
          onFrame: (type, body) => {
            inner?.onFrame(type, body);
          },
          onClose: (error) => {
            this.#sessions.delete(session);
            this.#gate.closed(session);
            if (isMember) this.#contacts.closed(remote);
            inner?.onClose(error);
          },
        };
      },
    });
  }

  /** @throws CairnError with which the session is refused. */
  #checkRemote(remote: Hello): void {
    if (remote.kind === 'metadata') this.#gate.check(remote);
    const isForMembers = remote.purpose !== 'rpc';
    if (isForMembers && remote.kind !== 'metadata') {
      throw new CairnError(
        'FAILED_PRECONDITION',
        `${remote.kind} "${remote.name}" is not a metadata member: a metadata member has no ${remote.purpose} for it`,
      );
    }
    if (this.#opened !== undefined || (remote.kind === 'metadata' && !isForMembers)) return;
    throw new CairnError('UNAVAILABLE', `metadata member ${this.#self.name} waits for its group`, {
      retryAfterMs: 100,
    });
  }
}
