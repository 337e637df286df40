import {
  CairnError,
  messageOf,
  rangeId,
  replicaId,
  rethrowInvariant,
  type ReplicaId,
  type StoreId,
} from '@cairn/base';
import { type Clock, LogBudget, type Logger } from '@cairn/ports';
import type { ReplicaGroup } from '@cairn/store';

import { evaluateCreated, missingReplicas } from './bootstrap.js';
import { descriptorToMessage } from './descriptor-messages.js';
import { listVersion, type LeaderMemory } from './leader-memory.js';
import {
  checkAddress,
  checkBuild,
  checkIncarnation,
  checkProcess,
  evaluateAddress,
  evaluateEstablished,
} from './membership.js';
import type { MetadataView } from './metadata-state.js';
import type { MetadataStateMachine } from './metadata-state-machine.js';
import type { Contact } from './node-table.js';
import type { Proposer } from './proposer.js';
import type { RangeFacts } from './range-map.js';
import { storesWithOldLocks } from './old-locks.js';
import type { NodeRecord } from './records.js';
import { checkReports } from './report-checks.js';
import { listSettings } from './settings.js';
import type { TimestampOracle } from './timestamp-oracle.js';
import {
  NodeKind,
  type BuildVersions,
  type HeartbeatRequest,
  type HeartbeatResponse,
  type StoreCommand,
  type WaitingReplica,
} from './wire-binding.js';

/** Replicas one response tells to go; the next tells of the others. */
const REMOVALS_MAX = 100;

interface Registered {
  readonly registered: NodeRecord;
  readonly build: BuildVersions;
}

export interface HeartbeatParts {
  readonly group: Pick<ReplicaGroup, 'readBarrier'>;
  readonly machine: MetadataStateMachine;
  readonly proposer: Proposer;
  readonly oracle: TimestampOracle;
  readonly memory: LeaderMemory;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * @throws CairnError NAME_TAKEN unless the newest process of a registered node speaks, FAILED_PRECONDITION
 *   for a build that cannot run with what the cluster is at.
 */
function registeredAs(state: MetadataView, request: HeartbeatRequest): Registered {
  const { name, storeId, incarnation, process } = request;
  const registered = state.nodes.get(name);
  if (registered === undefined || registered.storeId !== storeId) {
    throw new CairnError('NAME_TAKEN', `shard node ${name} has not joined as store ${storeId}`);
  }
  checkIncarnation(name, registered, incarnation);
  checkProcess(name, registered, process);
  return { registered, build: checkBuild(state, request) };
}

/** As `checkBuild`; a leader makes sure that it still leads before it refuses. */
export async function checkBuildNow(
  { machine, group }: Pick<HeartbeatParts, 'machine' | 'group'>,
  request: Pick<HeartbeatRequest, 'name' | 'kind' | 'build'>,
): Promise<BuildVersions> {
  try {
    return checkBuild(machine.state, request);
  } catch (error) {
    rethrowInvariant(error);
    await group.readBarrier();
    return checkBuild(machine.state, request);
  }
}

/** What nodes tell every second, and what they are told in return. */
export class Heartbeats {
  readonly #parts: HeartbeatParts;
  /** Replicas whose existence is being recorded. At most as many as first ranges have replicas. */
  readonly #recording = new Set<ReplicaId>();

  /** Writes the lines that callers cause, a bounded number of them. */
  readonly #moved: LogBudget;

  constructor(parts: HeartbeatParts) {
    this.#parts = parts;
    this.#moved = new LogBudget({ ...parts, event: 'shard node is reached elsewhere', level: 'info' });
  }

  /**
   * @throws CairnError NAME_TAKEN (another process has the name, or none has joined), INVALID_ARGUMENT (a
   *   report that no range can give), FAILED_PRECONDITION (a build that does not fit the cluster version); in
   *   these cases nothing of the heartbeat was taken in.
   */
  async take(request: HeartbeatRequest): Promise<HeartbeatResponse> {
    const { machine, memory, oracle } = this.#parts;
    let contact: Contact;
    let commands: StoreCommand[] = [];
    if (request.kind === NodeKind.SHARD) {
      contact = await this.#takeShard(request);
      const store = request.storeId as StoreId;
      commands = [
        ...this.#commandsFor(contact, store),
        ...this.#removalsFor(store, request.waitingReplicas),
        ...(await this.#inventedAmong(request.waitingReplicas)),
      ];
    } else {
      contact = await this.#takeRouter(request);
    }
    const timestamp = await oracle.take(1);
    const state = machine.state;
    const term = machine.leadingTerm ?? 0;
    const storesVersion = listVersion(term, memory.nodes.changes);
    const settingsVersion = listVersion(term, state.settingsChanges);
    return {
      timestamp,
      stores: request.storesVersion === storesVersion ? [] : memory.nodes.storeInfos(state),
      commands,
      wantFull: contact.kind === 'shard' && !contact.hasFull,
      settings: request.settingsVersion === settingsVersion ? [] : listSettings(state.settings),
      storesVersion,
      settingsVersion,
      clusterVersion: state.clusterVersion,
      gcSafePoint: state.gcSafePoint,
      lockFreeBelow: memory.locks.bound,
      oldLockStoreIds: contact.kind === 'router' ? storesWithOldLocks(state, memory.nodes, timestamp) : [],
    };
  }

  async #takeShard(request: HeartbeatRequest): Promise<Contact> {
    const { machine, proposer, memory, clock } = this.#parts;
    const { name, address, publicAddress } = request;
    const { registered, build } = await this.#registered(request);
    const reports = checkReports(machine.state, registered.storeId, request);
    if (registered.address !== address || registered.publicAddress !== publicAddress) {
      checkAddress(name, address);
      await proposer.run((state) => evaluateAddress(state, name, address, publicAddress));
      memory.nodes.noteChange();
      this.#moved.write({ name, from: registered.address, to: address });
    }
    const contact = memory.nodes.touch(name, 'shard', clock.nowMs());
    contact.build = build;
    if (!memory.nodes.takeHeartbeat(contact, request)) return contact;
    // A store that was never given a replica knows nothing of ranges, whatever it says.
    if (!registered.isEstablished) return contact;
    if (request.full) {
      memory.ranges.replace(registered.storeId, reports);
      contact.hasFull = true;
    } else {
      for (const facts of reports) memory.ranges.report(registered.storeId, facts);
      memory.ranges.remove(registered.storeId, request.removedRangeIds.map(rangeId));
    }
    this.#establish(reports);
    return contact;
  }

  /** Throws as `registeredAs`. NAME_TAKEN ends the process: so a leader makes sure that it still leads. */
  async #registered(request: HeartbeatRequest): Promise<Registered> {
    const { machine, group } = this.#parts;
    try {
      return registeredAs(machine.state, request);
    } catch (error) {
      rethrowInvariant(error);
      await group.readBarrier();
      return registeredAs(machine.state, request);
    }
  }

  /** An established store names others as members: the cluster gave them replicas. */
  #establish(reports: readonly RangeFacts[]): void {
    const { machine, proposer, logger } = this.#parts;
    const fresh = new Set<StoreId>();
    for (const { descriptor } of reports) {
      for (const { storeId } of descriptor.replicas) {
        if (machine.state.nodeOfStore(storeId)?.record.isEstablished === false) fresh.add(storeId);
      }
    }
    if (fresh.size === 0) return;
    proposer
      .run((state) => evaluateEstablished(state, fresh))
      .catch((error: unknown) => {
        rethrowInvariant(error);
        // The next report of the range tries again.
        logger.info('first replica of a store not recorded', { error: messageOf(error) });
      });
  }

  async #takeRouter(request: HeartbeatRequest): Promise<Contact> {
    const { machine, memory, clock } = this.#parts;
    const { name } = request;
    if (request.kind !== NodeKind.ROUTER) {
      throw new CairnError('INVALID_ARGUMENT', `${name} sent a heartbeat of unknown kind ${request.kind}`);
    }
    const build = await checkBuildNow(this.#parts, request);
    const known = memory.nodes.get(name);
    const isDisplaced =
      known?.kind === 'router' &&
      known.isLive &&
      Buffer.compare(known.incarnation, request.incarnation) !== 0;
    if (isDisplaced || machine.state.nodes.has(name)) {
      throw new CairnError(
        'NAME_TAKEN',
        `Another node runs under the name ${name}. Give this router a name of its own.`,
      );
    }
    const contact = memory.nodes.touch(name, 'router', clock.nowMs());
    contact.build = build;
    contact.incarnation = request.incarnation;
    contact.address = request.address;
    contact.publicAddress = request.publicAddress;
    memory.nodes.takeHeartbeat(contact, request);
    return contact;
  }

  /** First replicas the store shall make; those it has are recorded instead. */
  #commandsFor(contact: Contact, store: StoreId): StoreCommand[] {
    // Without its whole list, a store that has the replica looks like one that has not.
    if (!contact.hasFull) return [];
    const { machine, memory } = this.#parts;
    const commands: StoreCommand[] = [];
    const created: ReplicaId[] = [];
    for (const { replicaId: id, descriptor } of missingReplicas(machine.state, store)) {
      if (memory.ranges.isReported(store, descriptor.rangeId)) created.push(id);
      else commands.push({ command: { $case: 'createReplica', value: descriptorToMessage(descriptor) } });
    }
    this.#record(created);
    return commands;
  }

  /**
   * Replicas the store has and the newest descriptor does not name: they missed their own removal. It is
   * told only when most of the voters of that descriptor have applied it, as they say themselves; what one
   * store says alone takes nothing from another.
   */
  #removalsFor(store: StoreId, waiting: readonly WaitingReplica[]): StoreCommand[] {
    const { ranges } = this.#parts.memory;
    const descriptors = ranges.foreignTo(store);
    for (const { rangeId: id, replicaId: replica, confVersion } of waiting) {
      const descriptor = ranges.get(rangeId(id))?.descriptor;
      if (descriptor?.replicas.every((member) => member.replicaId !== replica) !== true) continue;
      // The version that it was created with is what a message said; that its store has another replica is
      // not.
      const hasOther = descriptor.replicas.some((member) => member.storeId === store);
      if (hasOther || descriptor.epoch.confVersion > confVersion) descriptors.push(descriptor);
    }
    return descriptors
      .filter((descriptor) => ranges.isConfirmed(descriptor.rangeId))
      .slice(0, REMOVALS_MAX)
      .map((value) => ({ command: { $case: 'removeReplica', value: descriptorToMessage(value) } }));
  }

  /** Replicas without a state whose ids were never given out: messages made them up. */
  async #inventedAmong(waiting: readonly WaitingReplica[]): Promise<StoreCommand[]> {
    const { group, machine } = this.#parts;
    const isInvented = ({ rangeId: range, replicaId: replica }: WaitingReplica): boolean =>
      range >= machine.state.nextId || replica >= machine.state.nextId;
    if (!waiting.some(isInvented)) return [];
    // The next leader may have given them out meanwhile.
    await group.readBarrier();
    return waiting
      .filter(isInvented)
      .slice(0, REMOVALS_MAX)
      .map(({ rangeId: range, replicaId: replica }) => ({
        command: { $case: 'forgetReplica', value: { rangeId: range, replicaId: replica } },
      }));
  }

  #record(created: readonly ReplicaId[]): void {
    const fresh = created.map(replicaId).filter((id) => !this.#recording.has(id));
    if (fresh.length === 0) return;
    for (const id of fresh) this.#recording.add(id);
    this.#parts.proposer
      .run((state) => evaluateCreated(state, fresh))
      .catch((error: unknown) => {
        rethrowInvariant(error);
        // The next heartbeat of the store tries again.
        this.#parts.logger.info('creation of first replicas not recorded', { error: messageOf(error) });
      })
      .finally(() => {
        for (const id of fresh) this.#recording.delete(id);
      });
  }
}
