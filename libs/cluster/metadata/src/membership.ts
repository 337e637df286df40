import { CairnError, storeId, versionMisfit, type StoreId } from '@cairn/base';
import { isAddress } from '@cairn/config';
import { areTokens, judgeStart, latestToken } from '@cairn/store';

import type { MetadataMember } from './leadership.js';
import type { MetadataView } from './metadata-state.js';
import type { Evaluation } from './proposer.js';
import { lostName, type NodeRecord } from './records.js';
import { buildFromMessage, NodeKind, type BuildVersions, type JoinRequest } from './wire-binding.js';

const NODE_NAME = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;
const ADDRESS_LENGTH_MAX = 300;
const SHOWN_ADDRESS = /^[\x21-\x7e]+$/;
const INCARNATION_BYTES = 16;
const PROCESS_BYTES = 8;
/** Stores that were ever registered, lost ones included: each is a row for ever. */
export const STORES_MAX = 4_096;

function refuse(message: string): never {
  throw new CairnError('INVALID_ARGUMENT', message);
}

/**
 * Checks what a node says of itself, in every join and heartbeat: it is kept, and told to others.
 *
 * @throws CairnError INVALID_ARGUMENT.
 */
export function checkNode(
  request: Pick<JoinRequest, 'name' | 'kind' | 'incarnation' | 'address' | 'publicAddress'>,
): void {
  if (!NODE_NAME.test(request.name)) {
    refuse(
      `A node cannot be named "${request.name.slice(0, 80)}": a name has 1 to 63 lower-case letters, ` +
        'digits, dots and dashes, with a letter or digit at both ends.',
    );
  }
  if (request.kind !== NodeKind.SHARD && request.kind !== NodeKind.ROUTER)
    refuse(`unknown node kind ${request.kind}`);
  if (request.incarnation.length !== INCARNATION_BYTES) {
    refuse(`an incarnation has ${INCARNATION_BYTES} bytes, not ${request.incarnation.length}`);
  }
  for (const address of [request.address, request.publicAddress]) checkShownAddress(request.name, address);
}

/**
 * What is shown to people is no more than an address: no text that moves their cursor, and none without end.
 */
function checkShownAddress(name: string, address: string): void {
  if (address.length > ADDRESS_LENGTH_MAX) refuse(`an address has at most ${ADDRESS_LENGTH_MAX} characters`);
  if (address === '' || (SHOWN_ADDRESS.test(address) && isAddress(address))) return;
  const shown = address.slice(0, 80).replace(/[^\x20-\x7e]/g, '?');
  refuse(`node ${name} says that it is reached at "${shown}": an address is host:port`);
}

/** Checks what does not depend on the state. @throws CairnError INVALID_ARGUMENT. */
export function checkJoinRequest(request: JoinRequest): void {
  checkNode(request);
  if (request.kind !== NodeKind.SHARD) return;
  checkAddress(request.name, request.address);
  if (request.process.length !== PROCESS_BYTES) {
    refuse(`a process is named by ${PROCESS_BYTES} bytes, not ${request.process.length}`);
  }
  const { acceptedStart: accepted, offeredStarts: offered } = request;
  if (offered.length === 0 || !areTokens({ accepted, offered })) {
    const first = offered.length === 0 ? 'none' : `"${offered[0]?.slice(0, 40)}"`;
    refuse(
      `a start is named by 16 hexadecimal digits, 1 to 32 starts are shown: not "${accepted.slice(0, 40)}" and ` +
        `${offered.length} more, the first of them ${first}`,
    );
  }
}

/** @throws CairnError INVALID_ARGUMENT for an address that cannot be dialled. */
export function checkAddress(name: string, address: string): void {
  if (address.length <= ADDRESS_LENGTH_MAX && isAddress(address) && !address.endsWith(':0')) return;
  throw new CairnError(
    'INVALID_ARGUMENT',
    `shard node ${name} cannot be reached at "${address.slice(0, 80)}": an address is host:port`,
  );
}

/**
 * The build that a node says it runs, in every join and heartbeat.
 *
 * @throws CairnError INVALID_ARGUMENT for what no release says; FAILED_PRECONDITION for one that cannot run
 *   with what the cluster is at.
 */
export function checkBuild(
  state: MetadataView,
  { name, kind, build: message }: Pick<JoinRequest, 'name' | 'kind' | 'build'>,
): BuildVersions {
  const build = buildFromMessage(message);
  const who = `${kind === NodeKind.SHARD ? 'shard' : 'router'} "${name}"`;
  const misfit = versionMisfit({ who, ...build }, state.clusterVersion);
  if (misfit !== undefined) throw misfit;
  return build;
}

/** @throws CairnError CLUSTER_MISMATCH when the node remembers another cluster. */
export function checkClusterId(state: MetadataView, name: string, clusterId: string): void {
  const ours = state.cluster?.clusterId ?? '';
  if (clusterId === '' || clusterId === ours) return;
  throw new CairnError(
    'CLUSTER_MISMATCH',
    `Node ${name} belongs to cluster ${clusterId}, this is cluster ${ours}. Start it with the metadata ` +
      'addresses of its own cluster, or with an empty data directory to join this one as a new node.',
    { details: { clusterId: ours } },
  );
}

/**
 * Members are named by the configuration and never join, so nothing that joined says that their names are
 * taken.
 *
 * @throws CairnError NAME_TAKEN for the name of a member.
 */
export function checkNoMember(members: readonly MetadataMember[], name: string): void {
  if (members.every((member) => member.name !== name)) return;
  throw new CairnError(
    'NAME_TAKEN',
    `A metadata member has the name ${name}. Give this node a name of its own.`,
  );
}

/** @throws CairnError NAME_TAKEN unless the name belongs to this data directory. */
export function checkIncarnation(name: string, registered: NodeRecord, incarnation: Uint8Array): void {
  if (Buffer.compare(registered.incarnation, incarnation) === 0) return;
  throw new CairnError(
    'NAME_TAKEN',
    `The name ${name} belongs to store ${registered.storeId} at ${registered.address}, which has another data ` +
      'directory. Start this node under a name of its own, or with that directory; if that directory is lost ' +
      `for good, start it with an empty one and --replace-lost-store ${registered.storeId}.`,
    { details: { storeId: registered.storeId, address: registered.address } },
  );
}

/** @throws CairnError NAME_TAKEN unless it is the newest process of the node that speaks. */
export function checkProcess(name: string, registered: NodeRecord, process: Uint8Array): void {
  if (Buffer.compare(registered.process, process) === 0) return;
  throw new CairnError(
    'NAME_TAKEN',
    `${name} was started again, at ${registered.address}: this process is not the newest of its node and must ` +
      'not go on. Never start a copy of a data directory.',
  );
}

/** @throws CairnError FAILED_PRECONDITION for a directory that does not know of its last accepted start. */
function checkStart(name: string, registered: NodeRecord, request: JoinRequest): void {
  const shown = { accepted: request.acceptedStart, offered: request.offeredStarts };
  if (judgeStart(registered.start, shown) !== 'older') return;
  throw new CairnError(
    'FAILED_PRECONDITION',
    `${name} was started from an older copy of its data directory, one that does not know of its last start at ` +
      `${registered.address}: what it acknowledged since is missing. Start it with the newest directory; if that ` +
      `is lost, start it with an empty one and --replace-lost-store ${registered.storeId}.`,
  );
}

/** The token by which the start of a request is known from now on. */
function startOf({ acceptedStart: accepted, offeredStarts: offered }: JoinRequest): string {
  return latestToken({ accepted, offered });
}

export interface JoinFacts {
  readonly nowUnixMs: number;
  /** A process that speaks here now. */
  isConnected(process: Uint8Array): boolean;
  /** The last process of the node would have been heard by now if it still ran. */
  isSilent(): boolean;
  /** For how long this process has been told that another one runs. */
  waitedMs(): number;
}

export interface JoinOutcome {
  readonly storeId: StoreId;
  readonly isNew: boolean;
  /** The store that was declared lost by this. */
  readonly lost: StoreId | undefined;
}

/**
 * Registers a shard node, or recognises it: name and data directory together are its identity, its address
 * may change.
 *
 * @throws CairnError CLUSTER_MISMATCH, NAME_TAKEN, FAILED_PRECONDITION, INVALID_ARGUMENT, UNAVAILABLE (its
 * last process still runs, or may), RESOURCE_EXHAUSTED.
 */
export function evaluateShardJoin(
  state: MetadataView,
  request: JoinRequest,
  facts: JoinFacts,
): Evaluation<JoinOutcome> {
  const { name, incarnation, clusterId } = request;
  checkClusterId(state, name, clusterId);
  const build = checkBuild(state, request);
  const registered = state.nodes.get(name);
  const isKnown = registered !== undefined && Buffer.compare(registered.incarnation, incarnation) === 0;
  if (isKnown) checkStart(name, registered, request);
  else checkStranger(state, request);
  if (!isKnown && request.replacesStoreId !== 0) checkReplaced(state, request);
  else if (registered !== undefined) checkIncarnation(name, registered, incarnation);
  if (registered !== undefined) checkNotRunning(name, registered, request, facts);
  if (isKnown) return comeBack(registered, request, build);
  const record = newRecord(state, request, build, facts.nowUnixMs);
  const lost: Evaluation<JoinOutcome>['changes'] =
    registered === undefined
      ? []
      : [{ type: 'node', name: lostName(name, registered.storeId), value: { ...registered, isLost: true } }];
  return {
    changes: [...lost, { type: 'node', name, value: record }],
    result: { storeId: record.storeId, isNew: true, lost: registered?.storeId },
  };
}

/**
 * Only the store that is named is given up: a flag that was forgotten in a unit file must not give up the
 * next store of the name when its disk is not mounted.
 *
 * @throws CairnError FAILED_PRECONDITION.
 */
function checkReplaced(state: MetadataView, { name, replacesStoreId: named }: JoinRequest): void {
  const registered = state.nodes.get(name);
  if (registered?.storeId === named) return;
  const owner = state.nodeOfStore(storeId(named));
  const whose =
    owner === undefined
      ? `there is no store ${named}`
      : `store ${named} is ${owner.record.isLost ? 'lost already' : owner.name}`;
  const who =
    registered === undefined
      ? `no store has joined under the name ${name}; start it without the flag to join as a new one`
      : `${name} is store ${registered.storeId}, which has another data directory: start it with that ` +
        `directory; if that is lost for good, with --replace-lost-store ${registered.storeId}`;
  throw new CairnError(
    'FAILED_PRECONDITION',
    `--replace-lost-store of ${name} names store ${named}, but ${whose}, and ${who}.`,
  );
}

/** A process hears this long that it must wait for another one to end; then it is told that it must not. */
const RUNS_ALREADY_MS = 30_000;

/**
 * @throws CairnError UNAVAILABLE while another process of the node speaks, or may speak in a moment: it may
 *   be a copy that was started; FAILED_PRECONDITION when the other one is not about to end.
 */
function checkNotRunning(
  name: string,
  registered: NodeRecord,
  { process }: JoinRequest,
  facts: JoinFacts,
): void {
  if (Buffer.compare(registered.process, process) === 0) return;
  if (facts.isConnected(registered.process)) {
    throw new CairnError(
      facts.waitedMs() > RUNS_ALREADY_MS ? 'FAILED_PRECONDITION' : 'UNAVAILABLE',
      `${name} runs already, as another process at ${registered.address}: stop one of the two, and never start a ` +
        'copy of a data directory',
      { retryAfterMs: 200 },
    );
  }
  // A leader that was just elected has no session of anybody, and a session that broke may be opened again.
  if (facts.isSilent()) return;
  throw new CairnError(
    'UNAVAILABLE',
    `the last process of ${name}, at ${registered.address}, may still run: it is waited for a few seconds`,
    { retryAfterMs: 200 },
  );
}

function comeBack(
  registered: NodeRecord,
  request: JoinRequest,
  { build, clusterVersions }: BuildVersions,
): Evaluation<JoinOutcome> {
  const { name, address, publicAddress } = request;
  const start = startOf(request);
  const process = Buffer.from(request.process);
  const result = { storeId: registered.storeId, isNew: false, lost: undefined };
  const isSame =
    registered.start === start &&
    Buffer.compare(registered.process, process) === 0 &&
    registered.address === address &&
    registered.publicAddress === publicAddress &&
    registered.build === build &&
    registered.clusterVersions.min === clusterVersions.min &&
    registered.clusterVersions.max === clusterVersions.max;
  if (isSame) return { changes: [], result };
  const value = { ...registered, address, publicAddress, start, process, build, clusterVersions };
  return { changes: [{ type: 'node', name, value }], result };
}

/** @throws CairnError FAILED_PRECONDITION for a directory that is known otherwise, or should be. */
function checkStranger(state: MetadataView, { name, incarnation, clusterId }: JoinRequest): void {
  for (const [other, record] of state.nodes) {
    if (Buffer.compare(record.incarnation, incarnation) !== 0) continue;
    const message = record.isLost
      ? `The data directory of ${name} belongs to store ${record.storeId}, which was declared lost. ` +
        'Start it with an empty directory to join as a new node.'
      : `The data directory of ${name} belongs to node ${other}. Start it under that name; ` +
        'a node cannot be renamed.';
    throw new CairnError('FAILED_PRECONDITION', message);
  }
  if (clusterId === '') return;
  throw new CairnError(
    'FAILED_PRECONDITION',
    `Node ${name} says it is a member of this cluster, but the cluster does not know it. Start it with ` +
      'an empty data directory to join as a new node.',
  );
}

function newRecord(
  state: MetadataView,
  request: JoinRequest,
  { build, clusterVersions }: BuildVersions,
  nowUnixMs: number,
): NodeRecord {
  if (state.nodes.size >= STORES_MAX) {
    throw new CairnError('RESOURCE_EXHAUSTED', `${STORES_MAX} stores are registered, more are not accepted`, {
      retryAfterMs: 60_000,
    });
  }
  const { address, publicAddress } = request;
  const start = startOf(request);
  return {
    storeId: freeStoreId(state, request.name),
    incarnation: Buffer.from(request.incarnation),
    address,
    publicAddress,
    joinedUnixMs: Math.max(0, Math.floor(nowUnixMs)),
    start,
    process: Buffer.from(request.process),
    build,
    clusterVersions,
    isEstablished: false,
    isLost: false,
  };
}

/** The number at the end of the name where it is free, so that `shard-3` is store 3; else one above all. */
function freeStoreId(state: MetadataView, name: string): StoreId {
  const used = new Set<number>();
  let highest = 0;
  for (const { storeId: id } of state.nodes.values()) {
    used.add(id);
    highest = Math.max(highest, id);
  }
  const wanted = Number(/-([1-9][0-9]{0,3})$/.exec(name)?.[1] ?? 0);
  return storeId(wanted > 0 && wanted <= STORES_MAX && !used.has(wanted) ? wanted : highest + 1);
}

/** Notes that a registered node is reached elsewhere now. */
export function evaluateAddress(
  state: MetadataView,
  name: string,
  address: string,
  publicAddress: string,
): Evaluation<undefined> {
  const registered = state.nodes.get(name);
  if (registered === undefined) throw new CairnError('FAILED_PRECONDITION', `node ${name} has not joined`);
  if (registered.address === address && registered.publicAddress === publicAddress) {
    return { changes: [], result: undefined };
  }
  return {
    changes: [{ type: 'node', name, value: { ...registered, address, publicAddress } }],
    result: undefined,
  };
}

/** The cluster has given these stores replicas: what they say of ranges is believed from now on. */
export function evaluateEstablished(state: MetadataView, stores: Iterable<StoreId>): Evaluation<undefined> {
  const changes: Evaluation<undefined>['changes'][number][] = [];
  for (const id of stores) {
    const node = state.nodeOfStore(id);
    if (node === undefined || node.record.isEstablished) continue;
    changes.push({ type: 'node', name: node.name, value: { ...node.record, isEstablished: true } });
  }
  return { changes, result: undefined };
}
