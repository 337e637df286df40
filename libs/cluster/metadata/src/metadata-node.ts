import { assert, CairnError } from '@cairn/base';
import type { Clock, Logger, Metrics, Rng } from '@cairn/ports';
import type { ReplicaGroup } from '@cairn/store';
import type { RpcServer } from '@cairn/wire';

import { summarizeRanges } from './cluster-view.js';
import { LeaderMemory } from './leader-memory.js';
import { Leadership, type MetadataMember } from './leadership.js';
import type { WallTime } from './member-clocks.js';
import { createMetadataMetrics, type MetadataGauges } from './metadata-metrics.js';
import { MetadataService } from './metadata-service.js';
import type { MetadataStateMachine } from './metadata-state-machine.js';
import { Proposer } from './proposer.js';
import { SafePointKeeper } from './safe-point-keeper.js';
import { Supervisor } from './supervisor.js';
import { TimestampOracle } from './timestamp-oracle.js';
import type { BuildVersions } from './wire-binding.js';

export interface MetadataNodeOptions {
  /** The machine that the group drives. */
  readonly machine: MetadataStateMachine;
  /** The opened group. */
  readonly group: ReplicaGroup;
  /** Where requests of nodes arrive; the methods are added here. */
  readonly server: RpcServer;
  /** Name of this member; one of `members`. */
  readonly name: string;
  /** All members of the group. */
  readonly members: readonly MetadataMember[];
  /** What this process runs. */
  readonly build: BuildVersions;
  /** How many shard nodes the first range waits for, 1 .. 7. */
  readonly expectedStores: number;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** What the wall clocks of the group showed when they were last heard. */
  wallTime(): WallTime;
  /** What a majority of them shows at one moment, asked anew; undefined = there is none. */
  agreedUnixMs(): Promise<number | undefined>;
  /**
   * For how long another member of the group has not been connected; undefined = it is. For the status only.
   */
  memberAwayMs(member: MetadataMember): number | undefined;
  /** What another member of the group runs; undefined while it is not connected. */
  memberBuild(member: MetadataMember): BuildVersions | undefined;
  /** A shard node's process that has a session to this member. */
  isProcessConnected(process: Uint8Array): boolean;
}

/** A running member of the metadata service. */
export interface MetadataNode {
  /** Answers requests now: leads, with a window of timestamps. */
  readonly isServing: boolean;
  /** Empty until the first leader of the cluster made it. */
  readonly clusterId: string;
  /** Stops serving and all timers. The group is closed by its owner, afterwards. */
  stop(): void;
}

/** Puts the service on top of an opened group. */
export function createMetadataNode(options: MetadataNodeOptions): MetadataNode {
  const { machine, group, clock, rng, logger, members, name, expectedStores } = options;
  const self = members.find((member) => member.name === name);
  if (self === undefined)
    throw new CairnError('INVALID_ARGUMENT', `${name} is not among the metadata members`);
  assert(expectedStores >= 1 && expectedStores <= 7, 'expectedStores is out of range', { expectedStores });

  const metrics = createMetadataMetrics(options.metrics);
  const memory = new LeaderMemory();
  const proposer = new Proposer({ machine, group, metrics });
  const oracle = new TimestampOracle({
    clock,
    logger,
    metrics,
    proposer,
    wallTime: () => options.wallTime(),
    agreedUnixMs: () => options.agreedUnixMs(),
    isAlone: members.length === 1,
  });
  const memberBuild = (member: MetadataMember): BuildVersions | undefined =>
    member === self ? options.build : options.memberBuild(member);
  const around = { machine, proposer, memory, clock, logger, members, memberBuild };
  const safePoint = new SafePointKeeper({ ...around, oracle, metrics });
  const supervisor = new Supervisor({ ...around, safePoint, expectedStores });
  const leadership = new Leadership({
    machine,
    group,
    proposer,
    oracle,
    self,
    members,
    build: options.build,
    clock,
    rng,
    logger,
    onReset: () => {
      supervisor.stop();
      safePoint.reset();
      memory.reset(machine.leadingTerm === undefined ? undefined : machine.state, clock.nowMs());
    },
    onServing: () => {
      supervisor.start();
    },
  });
  const service = new MetadataService({
    ...around,
    group,
    oracle,
    leadership,
    supervisor,
    safePoint,
    metrics,
    self,
    startedUnixMs: Math.floor(clock.unixMs()),
    memberAwayMs: (member) => options.memberAwayMs(member),
    isProcessConnected: (process) => options.isProcessConnected(process),
  });

  service.register(options.server);
  metrics.watch(() => readGauges(machine, memory, leadership, safePoint));
  leadership.start();
  return {
    get isServing() {
      return leadership.isServing;
    },
    get clusterId() {
      return machine.state.cluster?.clusterId ?? '';
    },
    stop: () => {
      leadership.stop();
    },
  };
}

function readGauges(
  machine: MetadataStateMachine,
  memory: LeaderMemory,
  leadership: Leadership,
  safePoint: SafePointKeeper,
): MetadataGauges {
  const summary = summarizeRanges(machine.state, memory.nodes, memory.ranges);
  // A leader that is new has not heard who leads: that is no range without a leader.
  const isKnown = memory.nodes.unheard(machine.state).length === 0;
  const contacts = [...memory.nodes.contacts()].filter((contact) => contact.isLive);
  return {
    isLeading: leadership.isServing,
    stores: [...machine.state.nodes.values()].filter(({ isLost }) => !isLost).length,
    storesLive: contacts.filter((contact) => contact.kind === 'shard').length,
    routersLive: contacts.filter((contact) => contact.kind === 'router').length,
    ranges: summary.ranges,
    rangesWithoutLeader: isKnown ? summary.withoutLeader : 0,
    rangesUnderReplicated: isKnown ? summary.underReplicated : 0,
    rangeGaps: memory.coverage.gaps,
    rangeConflicts: memory.coverage.conflicts,
    ...safePoint.gauges(),
  };
}
