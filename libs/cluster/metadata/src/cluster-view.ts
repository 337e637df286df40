import type { Clock } from '@cairn/ports';

import type { MetadataMember } from './leadership.js';
import type { MetadataView } from './metadata-state.js';
import type { Contact, NodeTable } from './node-table.js';
import type { NodeRecord } from './records.js';
import type { RangeEntry, RangeMap } from './range-map.js';
import { settingOf } from './settings.js';
import { buildToMessage, NodeState, type BuildVersions, type NodeStatus } from './wire-binding.js';

/** What all ranges come to. */
export interface RangeSummary {
  readonly ranges: number;
  readonly withoutLeader: number;
  readonly underReplicated: number;
  /** With replicas that have not caught up, as their leaders see it. */
  readonly catchingUp: number;
  /** With a member on a store that was declared lost. */
  readonly onLostStores: number;
}

/** Adds up over all ranges; not for hot paths. */
export function summarizeRanges(state: MetadataView, nodes: NodeTable, map: RangeMap): RangeSummary {
  // More voters than stores are not possible, however many are wished for.
  const lost = new Set<number>();
  for (const { storeId, isLost } of state.nodes.values()) if (isLost) lost.add(storeId);
  const stores = Math.max(1, state.nodes.size - lost.size);
  const wanted = Math.min(settingOf(state.settings, 'replication.factor'), stores);
  const live = new Set<number>();
  for (const info of nodes.storeInfos(state)) if (info.live) live.add(info.storeId);
  let ranges = 0;
  let withoutLeader = 0;
  let underReplicated = 0;
  let catchingUp = 0;
  let onLostStores = 0;
  for (const entry of map.entries()) {
    if (entry.placing !== 'shown') continue;
    ranges += 1;
    if (!live.has(entry.leaderStoreId)) withoutLeader += 1;
    if (liveVoters(entry, live) < wanted) underReplicated += 1;
    if (entry.laggingReplicas > 0) catchingUp += 1;
    if (entry.descriptor.replicas.some(({ storeId }) => lost.has(storeId))) onLostStores += 1;
  }
  return { ranges, withoutLeader, underReplicated, catchingUp, onLostStores };
}

function liveVoters(entry: RangeEntry, live: ReadonlySet<number>): number {
  let count = 0;
  for (const { role, storeId } of entry.descriptor.replicas) {
    if ((role === 'voter' || role === 'incoming') && live.has(storeId)) count += 1;
  }
  return count;
}

export interface StatusParts {
  readonly state: MetadataView;
  readonly nodes: NodeTable;
  readonly ranges: RangeMap;
  readonly clock: Clock;
  readonly self: MetadataMember;
  readonly members: readonly MetadataMember[];
  readonly startedUnixMs: number;
  /** For how long another member has not been connected; undefined = it is. */
  memberAwayMs(member: MetadataMember): number | undefined;
  /** What a member runs now; undefined while it is not connected. */
  memberBuild(member: MetadataMember): BuildVersions | undefined;
}

/**
 * Metadata members, then shard nodes by store id, then routers by name. A store that was declared lost is
 * one of them only while a range names it as a member: after that nobody needs to know of it. Only the leader
 * asks.
 */
export function nodeStatuses(parts: StatusParts): NodeStatus[] {
  const { state, nodes, clock } = parts;
  const nowMs = clock.nowMs();
  const named = storesWithMembers(parts.ranges);
  const shards: NodeStatus[] = [];
  for (const [name, record] of state.nodes) {
    const { address, publicAddress, storeId, isLost } = record;
    if (isLost && !named.has(storeId)) continue;
    const build = buildOf(nodes.get(name)?.build) ?? buildOfStart(record);
    const identity = { name, kind: 'shard', address, publicAddress, storeId, build };
    shards.push(statusOf(isLost ? 'lost' : nodes.get(name), identity, nowMs));
  }
  shards.sort((a, b) => a.storeId - b.storeId);
  const routers: NodeStatus[] = [];
  for (const contact of nodes.contacts()) {
    if (contact.kind !== 'router') continue;
    const { name, address, publicAddress } = contact;
    const build = buildOf(contact.build);
    const identity = { name, kind: 'router', address, publicAddress, storeId: 0, build };
    routers.push(statusOf(contact, identity, nowMs));
  }
  routers.sort((a, b) => (a.name < b.name ? -1 : 1));
  return [...parts.members.map((member) => memberStatus(parts, member)), ...shards, ...routers];
}

function storesWithMembers(ranges: RangeMap): ReadonlySet<number> {
  const stores = new Set<number>();
  for (const { descriptor } of ranges.entries()) {
    for (const { storeId } of descriptor.replicas) stores.add(storeId);
  }
  return stores;
}

type Identity = Pick<NodeStatus, 'name' | 'kind' | 'address' | 'publicAddress' | 'storeId' | 'build'>;

function statusOf(known: Contact | 'lost' | undefined, identity: Identity, nowMs: number): NodeStatus {
  const contact = known === 'lost' ? undefined : known;
  const numbers = contact?.numbers;
  const state = known === 'lost' ? NodeState.LOST : stateOf(contact);
  const live = contact?.isLive === true;
  return {
    ...identity,
    live,
    state,
    leader: false,
    replicas: numbers?.replicas ?? 0,
    dataBytes: numbers?.dataBytes ?? 0,
    diskFreeBytes: numbers?.diskFreeBytes ?? 0,
    // A node that is gone leads and serves nothing, whatever it said last.
    leaders: live ? (numbers?.leaders ?? 0) : 0,
    readsPerSecond: live ? (numbers?.readsPerSecond ?? 0) : 0,
    writesPerSecond: live ? (numbers?.writesPerSecond ?? 0) : 0,
    startedUnixMs: numbers?.startedUnixMs ?? 0,
    lastSeenMs: contact === undefined ? 0 : Math.max(0, Math.floor(nowMs - contact.lastSeenMs)),
  };
}

function buildOf(build: BuildVersions | undefined): NodeStatus['build'] {
  return build === undefined ? undefined : buildToMessage(build);
}

/** Of a node that this leader has not heard: its protocols matter to nobody now. */
function buildOfStart({ build, clusterVersions }: NodeRecord): NodeStatus['build'] {
  return buildToMessage({ build, clusterVersions, protocols: { min: 0, max: 0 } });
}

function stateOf(contact: Contact | undefined): NodeState {
  if (contact?.isLive !== true) return NodeState.GONE;
  return contact.hasContact ? NodeState.LIVE : NodeState.NOT_HEARD_YET;
}

function memberStatus(parts: StatusParts, member: MetadataMember): NodeStatus {
  const isSelf = member.name === parts.self.name;
  const identity = {
    name: member.name,
    kind: 'metadata',
    address: member.address,
    publicAddress: '',
    storeId: 0,
    build: buildOf(parts.memberBuild(member)),
  };
  const awayMs = isSelf ? undefined : parts.memberAwayMs(member);
  return {
    ...statusOf(undefined, identity, 0),
    live: awayMs === undefined,
    state: awayMs === undefined ? NodeState.LIVE : NodeState.GONE,
    lastSeenMs: Math.floor(awayMs ?? 0),
    leader: isSelf,
    startedUnixMs: isSelf ? parts.startedUnixMs : 0,
  };
}
