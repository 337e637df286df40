import {
  CairnError,
  checkFormat,
  formatTooNew,
  replicaId,
  storeId,
  timestamp,
  type RangeDescriptor,
  type ReplicaId,
  type StoreId,
  type Timestamp,
  type VersionRange,
} from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';
import type { EngineSpan } from '@cairn/store';

import { readDescriptor, writeDescriptor } from './wire-binding.js';

/** First byte of every engine key of this service. The other namespaces are listed in `@cairn/mvcc`. */
const METADATA_NAMESPACE = 0x02;

/** All rows of the service. */
export const METADATA_SPAN: EngineSpan = {
  start: Uint8Array.of(METADATA_NAMESPACE),
  end: Uint8Array.of(METADATA_NAMESPACE + 1),
};

/** Second byte of an engine key, and tag of a change in a command. On disk: append only, never reuse. */
const RecordTag = {
  cluster: 1,
  nextId: 2,
  timestampBound: 3,
  node: 4,
  setting: 5,
  bootstrap: 6,
  clusterVersion: 7,
  /** Behind the gate `gcHolds`, as what follows. */
  hold: 8,
  gcSafePoint: 9,
} as const;

/** Made once, by the first leader of the cluster. */
export interface ClusterRecord {
  /** 32 hexadecimal digits. */
  readonly clusterId: string;
  readonly createdUnixMs: number;
}

/** A shard node. Keyed by its name; never removed. A store that was lost is kept under `lostName`. */
export interface NodeRecord {
  readonly storeId: StoreId;
  /** Identity of its data directory. */
  readonly incarnation: Buffer;
  readonly address: string;
  readonly publicAddress: string;
  readonly joinedUnixMs: number;
  /** The token of the last start of the directory that was accepted, and its process. */
  readonly start: string;
  readonly process: Buffer;
  /** The release of that start, and the cluster versions that it runs with. */
  readonly build: string;
  readonly clusterVersions: VersionRange;
  /**
   * The cluster gave it a replica once: by the decision about the first range, or because an established
   * store named it as a member. Only such stores are believed about ranges.
   */
  readonly isEstablished: boolean;
  /** Its directory is gone for good. */
  readonly isLost: boolean;
}

/** Where a lost store is kept, so that its id stays taken; no node can have such a name. */
export function lostName(name: string, store: StoreId): string {
  return `${name}#${store}`;
}

/** The ranges the cluster began with. */
export interface BootstrapRecord {
  readonly ranges: readonly RangeDescriptor[];
  /** Replicas that their stores have reported; these are never asked for again. */
  readonly createdReplicaIds: readonly ReplicaId[];
}

/** Keeps what a read at `heldAt` sees from being collected. Keyed by its name. */
export interface HoldRecord {
  readonly heldAt: Timestamp;
  /** It ends at this time of the oracle. */
  readonly expiresUnixMs: number;
  /** For people. */
  readonly reason: string;
}

/**
 * One row set to a value. A command is a list of these: absolute, so that applying it again changes nothing.
 */
export type Change =
  | { readonly type: 'cluster'; readonly value: ClusterRecord }
  | { readonly type: 'next-id'; readonly value: number }
  | { readonly type: 'timestamp-bound'; readonly value: Timestamp }
  | { readonly type: 'node'; readonly name: string; readonly value: NodeRecord }
  | { readonly type: 'setting'; readonly name: string; readonly value: string | undefined }
  | { readonly type: 'bootstrap'; readonly value: BootstrapRecord }
  | { readonly type: 'cluster-version'; readonly value: number }
  | { readonly type: 'hold'; readonly name: string; readonly value: HoldRecord | undefined }
  | { readonly type: 'gc-safe-point'; readonly value: Timestamp };

/** A row as the engine and the log hold it; an undefined value removes it. */
export interface Row {
  readonly tag: number;
  readonly name: string;
  readonly value: Buffer | undefined;
}

export function rowKey(row: Row): Buffer {
  return Buffer.concat([Buffer.of(METADATA_NAMESPACE, row.tag), Buffer.from(row.name)]);
}

/** The inverse of `rowKey`, with the row's value. */
export function rowFrom(key: Uint8Array, value: Buffer): Row {
  const reader = new ByteReader(key);
  const namespace = reader.u8();
  if (namespace !== METADATA_NAMESPACE) throw new CairnError('CORRUPTION', `a key of namespace ${namespace}`);
  const tag = reader.u8();
  return { tag, name: reader.raw(reader.remaining).toString('utf8'), value };
}

/**
 * Of all rows together: read from `min` on, written as `max`. A field that is new is read as its default from
 * a row of the format before, and written only when its gate is open: a row that an older member set anew
 * would lose it.
 */
const ROW_FORMATS = { min: 5, max: 5 };

export function encodeChange(change: Change): Row {
  switch (change.type) {
    case 'cluster':
      return row(RecordTag.cluster, '', (writer) => {
        writer.string(change.value.clusterId);
        writer.u64(change.value.createdUnixMs);
      });
    case 'next-id':
      return row(RecordTag.nextId, '', (writer) => {
        writer.u64(change.value);
      });
    case 'timestamp-bound':
      return row(RecordTag.timestampBound, '', (writer) => {
        writer.u64(change.value);
      });
    case 'node':
      return row(RecordTag.node, change.name, (writer) => {
        writeNode(writer, change.value);
      });
    case 'setting': {
      const { name, value } = change;
      if (value === undefined) return { tag: RecordTag.setting, name, value: undefined };
      return row(RecordTag.setting, name, (writer) => {
        writer.string(value);
      });
    }
    case 'bootstrap':
      return row(RecordTag.bootstrap, '', (writer) => {
        writeBootstrap(writer, change.value);
      });
    case 'cluster-version':
      return row(RecordTag.clusterVersion, '', (writer) => {
        writer.varint(change.value);
      });
    case 'hold': {
      const { name, value } = change;
      if (value === undefined) return { tag: RecordTag.hold, name, value: undefined };
      return row(RecordTag.hold, name, (writer) => {
        writer.u64(value.heldAt);
        writer.u64(value.expiresUnixMs);
        writer.string(value.reason);
      });
    }
    case 'gc-safe-point':
      return row(RecordTag.gcSafePoint, '', (writer) => {
        writer.u64(change.value);
      });
  }
}

function row(tag: number, name: string, write: (writer: ByteWriter) => void): Row {
  const writer = new ByteWriter();
  writer.u8(ROW_FORMATS.max);
  write(writer);
  return { tag, name, value: writer.take() };
}

/**
 * @throws CairnError FORMAT_TOO_NEW for what this build does not know, CORRUPTION for garbled bytes: the
 * replica halts.
 */
export function decodeRow({ tag, name, value }: Row): Change {
  if (value === undefined) {
    if (tag === RecordTag.setting) return { type: 'setting', name, value: undefined };
    if (tag === RecordTag.hold) return { type: 'hold', name, value: undefined };
    throw new CairnError('CORRUPTION', `row ${tag} cannot be removed`);
  }
  const reader = new ByteReader(value);
  checkFormat('a metadata row', reader.u8(), ROW_FORMATS);
  const change = readChange(tag, name, reader);
  reader.expectEnd();
  return change;
}

function readChange(tag: number, name: string, reader: ByteReader): Change {
  switch (tag) {
    case RecordTag.cluster:
      return { type: 'cluster', value: { clusterId: reader.string(), createdUnixMs: reader.u64() } };
    case RecordTag.nextId:
      return { type: 'next-id', value: reader.u64() };
    case RecordTag.timestampBound:
      return { type: 'timestamp-bound', value: timestamp(reader.u64()) };
    case RecordTag.node:
      return { type: 'node', name, value: readNode(reader) };
    case RecordTag.setting:
      return { type: 'setting', name, value: reader.string() };
    case RecordTag.bootstrap:
      return { type: 'bootstrap', value: readBootstrap(reader) };
    case RecordTag.clusterVersion:
      return { type: 'cluster-version', value: reader.varint() };
    case RecordTag.hold:
      return { type: 'hold', name, value: readHold(reader) };
    case RecordTag.gcSafePoint:
      return { type: 'gc-safe-point', value: timestamp(reader.u64()) };
    default:
      throw formatTooNew(`a metadata row of kind ${tag}`);
  }
}

const NODE_ESTABLISHED = 1;
const NODE_LOST = 2;

function writeNode(writer: ByteWriter, node: NodeRecord): void {
  writer.varint(node.storeId);
  writer.bytes(node.incarnation);
  writer.string(node.address);
  writer.string(node.publicAddress);
  writer.u64(node.joinedUnixMs);
  writer.string(node.start);
  writer.bytes(node.process);
  writer.string(node.build);
  writer.varint(node.clusterVersions.min);
  writer.varint(node.clusterVersions.max);
  writer.u8((node.isEstablished ? NODE_ESTABLISHED : 0) | (node.isLost ? NODE_LOST : 0));
}

function readNode(reader: ByteReader): NodeRecord {
  const fields = {
    storeId: storeId(reader.varint()),
    // Copied out: nodes live long, log buffers must not.
    incarnation: Buffer.from(reader.bytes()),
    address: reader.string(),
    publicAddress: reader.string(),
    joinedUnixMs: reader.u64(),
    start: reader.string(),
    process: Buffer.from(reader.bytes()),
    build: reader.string(),
    clusterVersions: { min: reader.varint(), max: reader.varint() },
  };
  const flags = reader.u8();
  return {
    ...fields,
    isEstablished: (flags & NODE_ESTABLISHED) !== 0,
    isLost: (flags & NODE_LOST) !== 0,
  };
}

function readHold(reader: ByteReader): HoldRecord {
  return { heldAt: timestamp(reader.u64()), expiresUnixMs: reader.u64(), reason: reader.string() };
}

function writeBootstrap(writer: ByteWriter, bootstrap: BootstrapRecord): void {
  writer.varint(bootstrap.ranges.length);
  for (const range of bootstrap.ranges) writeDescriptor(writer, range);
  writer.varint(bootstrap.createdReplicaIds.length);
  for (const id of bootstrap.createdReplicaIds) writer.varint(id);
}

function readBootstrap(reader: ByteReader): BootstrapRecord {
  const ranges: RangeDescriptor[] = [];
  for (let left = reader.varint(); left > 0; left -= 1) ranges.push(readDescriptor(reader));
  const createdReplicaIds: ReplicaId[] = [];
  for (let left = reader.varint(); left > 0; left -= 1) createdReplicaIds.push(replicaId(reader.varint()));
  return { ranges, createdReplicaIds };
}
