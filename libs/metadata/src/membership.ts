import { CairnError, storeId, type StoreId } from '@cairn/base';

import type { MetadataView } from './metadata-state.js';
import type { Evaluation } from './proposer.js';
import type { NodeRecord } from './records.js';
import { NodeKind, type JoinRequest } from './wire-binding.js';

const NODE_NAME = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;
const ADDRESS_LENGTH_MAX = 300;
const INCARNATION_BYTES = 16;
const STORE_ID_MAX = 2 ** 32 - 1;

/** Checks what does not depend on the state. @throws CairnError INVALID_ARGUMENT. */
export function checkJoinRequest(request: JoinRequest): void {
  const refuse = (message: string): never => {
    throw new CairnError('INVALID_ARGUMENT', message);
  };
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
  if (request.address.length > ADDRESS_LENGTH_MAX || request.publicAddress.length > ADDRESS_LENGTH_MAX) {
    refuse(`an address has at most ${ADDRESS_LENGTH_MAX} characters`);
  }
  if (request.kind === NodeKind.SHARD && request.address === '')
    refuse('a shard node must say where it is reached');
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

/** @throws CairnError NAME_TAKEN unless the name belongs to this data directory. */
export function checkIncarnation(name: string, registered: NodeRecord, incarnation: Uint8Array): void {
  if (Buffer.compare(registered.incarnation, incarnation) === 0) return;
  throw new CairnError(
    'NAME_TAKEN',
    `The name ${name} belongs to shard node ${registered.storeId} at ${registered.address}, which has ` +
      'another data directory. Start this node under a name of its own, or with the data directory of ' +
      'that node.',
    { details: { storeId: registered.storeId, address: registered.address } },
  );
}

/**
 * Registers a shard node, or recognises it: name and data directory together are its identity, its address
 * may change.
 *
 * @throws CairnError CLUSTER_MISMATCH, NAME_TAKEN, FAILED_PRECONDITION.
 */
export function evaluateShardJoin(
  state: MetadataView,
  request: JoinRequest,
  nowUnixMs: number,
): Evaluation<{ readonly storeId: StoreId; readonly isNew: boolean }> {
  const { name, incarnation, address, publicAddress, clusterId } = request;
  checkClusterId(state, name, clusterId);
  const registered = state.nodes.get(name);
  if (registered !== undefined) {
    checkIncarnation(name, registered, incarnation);
    return {
      ...evaluateAddress(state, name, address, publicAddress),
      result: { storeId: registered.storeId, isNew: false },
    };
  }
  for (const [other, record] of state.nodes) {
    if (Buffer.compare(record.incarnation, incarnation) !== 0) continue;
    throw new CairnError(
      'FAILED_PRECONDITION',
      `The data directory of ${name} belongs to node ${other}. Start it under that name; ` +
        'a node cannot be renamed.',
    );
  }
  if (clusterId !== '') {
    throw new CairnError(
      'FAILED_PRECONDITION',
      `Node ${name} says it is a member of this cluster, but the cluster does not know it. Start it with ` +
        'an empty data directory to join as a new node.',
    );
  }
  const id = state.nextId;
  if (id > STORE_ID_MAX) throw new CairnError('FAILED_PRECONDITION', 'no ids are left for stores');
  const record: NodeRecord = {
    storeId: storeId(id),
    incarnation: Buffer.from(incarnation),
    address,
    publicAddress,
    joinedUnixMs: Math.max(0, Math.floor(nowUnixMs)),
  };
  return {
    changes: [
      { type: 'next-id', value: id + 1 },
      { type: 'node', name, value: record },
    ],
    result: { storeId: record.storeId, isNew: true },
  };
}

/** A registered node is reached elsewhere now. */
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
