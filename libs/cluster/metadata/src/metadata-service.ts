import { CairnError, messageOf, opensAt, timestamp } from '@cairn/base';
import { LogBudget, type Clock, type Logger } from '@cairn/ports';
import type { ReplicaGroup } from '@cairn/store';
import type { Hello, RpcContext, RpcHandler, RpcMethod, RpcServer } from '@cairn/wire';

import { CallerBudgets } from './caller-budgets.js';
import { nodeStatuses, summarizeRanges } from './cluster-view.js';
import { healthOf } from './problems.js';
import { checkBuildNow, Heartbeats } from './heartbeats.js';
import { checkHoldName, evaluateDeleteHold, evaluatePutHold, listHolds } from './holds.js';
import type { LeaderMemory } from './leader-memory.js';
import type { Leadership, MetadataMember } from './leadership.js';
import {
  checkClusterId,
  checkJoinRequest,
  checkNode,
  checkNoMember,
  evaluateShardJoin,
} from './membership.js';
import type { MetadataMetrics } from './metadata-metrics.js';
import type { MetadataStateMachine } from './metadata-state-machine.js';
import type { Proposer } from './proposer.js';
import { checkNumbers } from './report-checks.js';
import { findRoutes } from './routes.js';
import type { SafePointKeeper } from './safe-point-keeper.js';
import { checkSettings, listSettings } from './settings.js';
import type { Supervisor } from './supervisor.js';
import type { TimestampOracle } from './timestamp-oracle.js';
import { upgradeOf } from './upgrade.js';
import {
  buildFromMessage,
  MetadataRpc,
  NodeKind,
  type BuildVersions,
  type DeleteHoldRequest,
  type DeleteHoldResponse,
  type GetStatusResponse,
  type JoinRequest,
  type JoinResponse,
  type LeaveRequest,
  type ListHoldsResponse,
  type PutHoldRequest,
  type PutHoldResponse,
  type PutSettingRequest,
  type ReportWaitsRequest,
  type ReportWaitsResponse,
} from './wire-binding.js';

/** Ids that one call may take. */
export const IDS_PER_CALL_MAX = 10_000;

/** Ids that one node may take at once, and how many more it gets in a second. */
const IDS_PER_NODE = { most: 100_000, perSecond: 1_000 };
/**
 * Nodes of one host that are new to this leader, stores and routers: so many at once, and in a second. Of one
 * host, so that a stranger who invents names keeps no node of another one out.
 */
const NEW_NAMES = { most: 512, perSecond: 5 };
/** Lines of one event in ten seconds: a cluster of fifty nodes that starts leaves one for each. */
const LINES_PER_INTERVAL = 50;
/** Ids stay below this: sums of them are exact. */
const ID_MAX = 2 ** 52;

export interface MetadataServiceParts {
  readonly machine: MetadataStateMachine;
  readonly group: ReplicaGroup;
  readonly proposer: Proposer;
  readonly oracle: TimestampOracle;
  readonly memory: LeaderMemory;
  readonly leadership: Leadership;
  readonly supervisor: Supervisor;
  readonly safePoint: SafePointKeeper;
  readonly metrics: MetadataMetrics;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly self: MetadataMember;
  readonly members: readonly MetadataMember[];
  readonly startedUnixMs: number;
  /** For how long another member has not been connected; undefined = it is. */
  memberAwayMs(member: MetadataMember): number | undefined;
  /** What a member runs now, this one included; undefined while it is not connected. */
  memberBuild(member: MetadataMember): BuildVersions | undefined;
  /** A shard node's process that has a session to this member. */
  isProcessConnected(process: Uint8Array): boolean;
}

/** The requests of `cairn.internal.v1.Metadata`. Only a serving leader answers; the others say who leads. */
export class MetadataService {
  readonly #parts: MetadataServiceParts;
  readonly #heartbeats: Heartbeats;
  readonly #ids: CallerBudgets;
  readonly #names: CallerBudgets;
  /** Writes the lines that callers cause, a bounded number of them. */
  readonly #lines: Readonly<
    Record<
      'joined' | 'cameBack' | 'routerReplaced' | 'routerLeft' | 'settingChanged' | 'holdPut' | 'holdDeleted',
      LogBudget
    >
  >;

  constructor(parts: MetadataServiceParts) {
    this.#parts = parts;
    this.#ids = new CallerBudgets(parts.clock, IDS_PER_NODE);
    this.#names = new CallerBudgets(parts.clock, NEW_NAMES);
    this.#heartbeats = new Heartbeats(parts);
    const lines = (event: string): LogBudget =>
      new LogBudget({ ...parts, event, level: 'info', linesPerInterval: LINES_PER_INTERVAL });
    this.#lines = {
      joined: lines('shard node joined for the first time'),
      cameBack: lines('shard node came back'),
      routerReplaced: lines('router replaced by a newer process'),
      routerLeft: lines('router stopped'),
      settingChanged: lines('setting changed'),
      holdPut: lines('hold made or renewed'),
      holdDeleted: lines('hold removed'),
    };
  }

  /** Adds the methods to a server. */
  register(server: RpcServer): void {
    this.#handle(server, MetadataRpc.join, (request, context) => this.#join(request, context));
    this.#handle(server, MetadataRpc.heartbeat, (request, { remote, host }) => {
      checkNode(request);
      checkNumbers(request);
      checkSpeaker(request.name, remote);
      this.#checkNewName(request.name, host);
      return this.#heartbeats.take(request);
    });
    this.#handle(server, MetadataRpc.leave, (request, { remote }) => this.#leave(request, remote));
    this.#handle(server, MetadataRpc.allocateIds, ({ count }, { remote }) =>
      this.#allocateIds(count, remote),
    );
    this.#handle(server, MetadataRpc.getTimestamps, ({ count }) => this.#getTimestamps(count));
    this.#handle(server, MetadataRpc.getRoutes, (request) =>
      findRoutes(this.#parts.machine.state, this.#parts.memory, request),
    );
    this.#handle(server, MetadataRpc.getStatus, () => this.#getStatus());
    this.#handle(server, MetadataRpc.getSettings, async () => {
      await this.#parts.group.readBarrier();
      return { settings: listSettings(this.#parts.machine.state.settings) };
    });
    this.#handle(server, MetadataRpc.putSetting, (request) => this.#putSettings(request));
    this.#handle(server, MetadataRpc.listHolds, () => this.#listHolds());
    this.#handle(server, MetadataRpc.putHold, (request) => this.#putHold(request));
    this.#handle(server, MetadataRpc.deleteHold, (request) => this.#deleteHold(request));
    this.#handle(server, MetadataRpc.reportWaits, (request, { remote }) =>
      this.#reportWaits(request, remote),
    );
  }

  #handle<Request, Response>(
    server: RpcServer,
    method: RpcMethod<Request, Response>,
    handler: RpcHandler<Request, Response>,
  ): void {
    const { leadership, metrics, logger } = this.#parts;
    const label = method.name.slice(method.name.lastIndexOf('/') + 1);
    server.handle(method, async (request, context) => {
      try {
        leadership.requireServing();
        const response = await handler(request, context);
        metrics.request(label, 'OK');
        return response;
      } catch (error) {
        const code = CairnError.is(error) ? error.code : 'INTERNAL';
        metrics.request(label, code);
        if (code === 'INTERNAL')
          logger.error('metadata request failed', { method: label, error: messageOf(error) });
        // Parts below know that they do not lead, not who does.
        throw code === 'NOT_LEADER' ? leadership.notLeader() : error;
      }
    });
  }

  async #join(request: JoinRequest, { remote, host }: RpcContext): Promise<JoinResponse> {
    const { machine, memory, oracle } = this.#parts;
    checkJoinRequest(request);
    checkSpeaker(request.name, remote);
    this.#checkNewName(request.name, host);
    const storeId =
      request.kind === NodeKind.SHARD ? await this.#joinShard(request) : await this.#joinRouter(request);
    const timestamp = await oracle.take(1);
    const { state } = machine;
    return {
      clusterId: state.cluster?.clusterId ?? '',
      storeId,
      timestamp,
      stores: memory.nodes.storeInfos(state),
      clusterVersion: state.clusterVersion,
      gcSafePoint: state.gcSafePoint,
    };
  }

  /**
   * Each name is remembered for a while, so new ones of one host come at a bounded rate.
   *
   * @throws CairnError NAME_TAKEN, UNAVAILABLE.
   */
  #checkNewName(name: string, host: string): void {
    const { machine, members, memory } = this.#parts;
    if (machine.state.nodes.has(name)) return;
    checkNoMember(members, name);
    if (memory.nodes.get(name) !== undefined) return;
    this.#names.take(host, 1, 'nodes under new names join');
  }

  async #joinShard(request: JoinRequest): Promise<number> {
    const { proposer, memory, supervisor, clock, logger, machine } = this.#parts;
    this.#checkNoRouter(request.name);
    const before = machine.state.nodes.get(request.name)?.address;
    const { storeId, isNew, lost } = await proposer.run((state) =>
      evaluateShardJoin(state, request, {
        nowUnixMs: clock.unixMs(),
        isConnected: (process) => this.#parts.isProcessConnected(process),
        isSilent: () => memory.nodes.isSilent(request.name),
        waitedMs: () => memory.nodes.waitedMs(request.name, request.process, clock.nowMs()),
      }),
    );
    const contact = memory.nodes.touch(request.name, 'shard', clock.nowMs());
    contact.build = buildFromMessage(request.build);
    memory.nodes.noteChange();
    const { name, address } = request;
    if (lost !== undefined) {
      contact.hasFull = false;
      memory.ranges.replace(lost, []);
      logger.warn('store declared lost: another one has its name', { name, lost, storeId, address });
    } else {
      const lines = isNew ? this.#lines.joined : this.#lines.cameBack;
      const moved = before === undefined || before === address ? {} : { from: before };
      lines.write({ name, storeId, address, ...moved });
    }
    supervisor.tryBootstrap();
    return storeId;
  }

  /**
   * A name of a shard node is taken for good, and routers are known by being heard alone: one that is there
   * must not lose its name to whoever joins under it.
   *
   * @throws CairnError NAME_TAKEN; UNAVAILABLE while routers have not been heard by a new leader.
   */
  #checkNoRouter(name: string): void {
    const { machine, memory } = this.#parts;
    if (machine.state.nodes.has(name)) return;
    if (memory.nodes.get(name)?.kind === 'router') {
      throw new CairnError(
        'NAME_TAKEN',
        `A router has the name ${name}, or had it until two minutes ago. Give this shard node a name of its own.`,
      );
    }
    if (machine.state.bootstrap === undefined || memory.nodes.hasListened) return;
    throw new CairnError(
      'UNAVAILABLE',
      `the metadata leader is new: whether a router has the name ${name} is known in a few seconds`,
      { retryAfterMs: 500 },
    );
  }

  /**
   * Routers keep nothing, so they are not registered: the newest process of a name is the router of that
   * name.
   */
  async #joinRouter(request: JoinRequest): Promise<number> {
    const { machine, memory, clock } = this.#parts;
    const { name, incarnation, address, publicAddress } = request;
    checkClusterId(machine.state, name, request.clusterId);
    const build = await checkBuildNow(this.#parts, request);
    if (machine.state.nodes.has(name)) {
      throw new CairnError(
        'NAME_TAKEN',
        `A shard node has the name ${name}. Give this router a name of its own.`,
      );
    }
    const known = memory.nodes.get(name);
    if (known?.isLive === true && Buffer.compare(known.incarnation, incarnation) !== 0) {
      this.#lines.routerReplaced.write({ name, from: known.address, to: address });
    }
    const contact = memory.nodes.touch(name, 'router', clock.nowMs());
    contact.build = build;
    contact.incarnation = incarnation;
    contact.address = address;
    contact.publicAddress = publicAddress;
    return 0;
  }

  #leave({ name, incarnation }: LeaveRequest, remote: Hello): Record<string, never> {
    checkSpeaker(name, remote);
    if (this.#parts.memory.nodes.routerLeft(name, incarnation)) this.#lines.routerLeft.write({ name });
    return {};
  }

  async #allocateIds(count: number, remote: Hello): Promise<{ first: number }> {
    if (!Number.isSafeInteger(count) || count < 1 || count > IDS_PER_CALL_MAX) {
      throw new CairnError(
        'INVALID_ARGUMENT',
        `1 to ${IDS_PER_CALL_MAX} ids can be taken at once, not ${count}`,
      );
    }
    if (this.#parts.machine.state.nodes.get(remote.name)?.storeId !== remote.storeId) {
      throw new CairnError('FAILED_PRECONDITION', `${remote.name} is not a shard node: it makes no ranges`);
    }
    this.#ids.take(remote.name, count, 'ids are taken');
    const first = await this.#parts.proposer.run((state) => {
      if (state.nextId + count > ID_MAX) throw new CairnError('FAILED_PRECONDITION', 'no ids are left');
      return { changes: [{ type: 'next-id', value: state.nextId + count }], result: state.nextId };
    });
    this.#parts.metrics.idsAllocated(count);
    return { first };
  }

  /** Above every timestamp handed out before the request arrived, by whichever leader. */
  async #getTimestamps(count: number): Promise<{ first: number }> {
    // Without this, a leader that was replaced and has not noticed would hand out timestamps below its
    // successor's.
    await this.#parts.group.readBarrier();
    return { first: await this.#parts.oracle.take(count) };
  }

  async #getStatus(): Promise<GetStatusResponse> {
    const { machine, memory, oracle, supervisor } = this.#parts;
    const timestamp = await oracle.take(1);
    const { state } = machine;
    const { nodes, ranges } = memory;
    const summary = summarizeRanges(state, nodes, ranges);
    const { waitingReason } = supervisor;
    const upgrade = upgradeOf(state, this.#parts);
    const { safePoint, pinnedBy } = this.#parts.safePoint.view();
    return {
      clusterId: state.cluster?.clusterId ?? '',
      nodes: nodeStatuses({ ...this.#parts, state, nodes, ranges }),
      ranges: summary.ranges,
      rangesWithoutLeader: summary.withoutLeader,
      rangesUnderReplicated: summary.underReplicated,
      timestamp,
      clusterVersion: state.clusterVersion,
      newestClusterVersion: upgrade.newest,
      upgradeWaits: [...upgrade.waits],
      gcSafePoint: safePoint,
      gcPinnedBy: pinnedBy,
      ...healthOf({ ...this.#parts, state, summary, waitingReason }),
    };
  }

  /** Puts all changes into one command: all of them happen, or none. */
  async #putSettings({ name: first, value: its, more }: PutSettingRequest): Promise<Record<string, never>> {
    const changes = [{ name: first, value: its }, ...more];
    await this.#parts.proposer.run((state) => {
      const normal = checkSettings(state.settings, changes);
      return {
        changes: normal.map(({ name, value }) => ({ type: 'setting' as const, name, value })),
        result: undefined,
      };
    });
    for (const { name, value } of changes) this.#lines.settingChanged.write({ setting: name, value });
    return {};
  }

  async #listHolds(): Promise<ListHoldsResponse> {
    const { group, leadership, machine } = this.#parts;
    await group.readBarrier();
    leadership.requireServing();
    const { safePoint, newest, pinnedBy } = this.#parts.safePoint.view();
    return { holds: listHolds(machine.state, newest), safePoint, timestamp: newest, pinnedBy };
  }

  async #putHold(request: PutHoldRequest): Promise<PutHoldResponse> {
    const { leadership, oracle, proposer } = this.#parts;
    this.#checkHoldsOpen();
    const hold = await proposer.run((state) => {
      // Without a window of timestamps nobody knows what was issued.
      leadership.requireServing();
      return evaluatePutHold(state, oracle.newest, request);
    });
    this.#lines.holdPut.write({ name: hold.name, timestamp: hold.timestamp, ttlMs: request.ttlMs });
    return { hold };
  }

  async #deleteHold({ name }: DeleteHoldRequest): Promise<DeleteHoldResponse> {
    checkHoldName(name);
    const deleted = await this.#parts.proposer.run((state) => evaluateDeleteHold(state, name));
    if (deleted) this.#lines.holdDeleted.write({ name });
    return { deleted };
  }

  /** Of the router that speaks: who says a name has it, and can only make others give up. */
  #reportWaits({ waits }: ReportWaitsRequest, { name }: Hello): ReportWaitsResponse {
    const { clock, memory, metrics } = this.#parts;
    const told = waits.map(({ waiter, holders }) => ({
      waiter: timestamp(waiter),
      holders: holders.map((holder) => timestamp(holder)),
    }));
    const victims = memory.waits.report(name, told, clock.nowMs());
    metrics.deadlocks(victims.length);
    return { victims: victims.map(({ owner, cycle }) => ({ owner, cycle: [...cycle] })) };
  }

  /** @throws CairnError FAILED_PRECONDITION while there are nodes that could not read a hold. */
  #checkHoldsOpen(): void {
    if (this.#parts.safePoint.isOpen) return;
    const { clusterVersion } = this.#parts.machine.state;
    throw new CairnError(
      'FAILED_PRECONDITION',
      `Nothing can be held before the cluster version is ${opensAt('gcHolds')}; it is ${clusterVersion}, and rises ` +
        'when every node runs a release that knows that one: cairn upgrade status.',
    );
  }
}

/** @throws CairnError INVALID_ARGUMENT unless a node speaks for itself. */
function checkSpeaker(name: string, remote: Hello): void {
  if (name === remote.name) return;
  throw new CairnError('INVALID_ARGUMENT', `${remote.name} cannot speak for ${name.slice(0, 80)}`);
}
