import type { RangeDescriptor, RangeId, ReplicaId, Term } from '@cairn/base';
import { CairnError, checkFormat } from '@cairn/base';
import { ByteReader, ByteWriter, isFrontSealed, sealFront } from '@cairn/codec';
import type { EngineRow } from '@cairn/engine';
import type { SnapshotMeta } from '@cairn/raft';
import { readDescriptor, writeDescriptor } from '@cairn/wire';

import { readConfigState, writeConfigState } from './config-state-codec.js';

/** What a snapshot is of, and everything that is not rows. */
export interface SnapshotHeader {
  readonly rangeId: RangeId;
  readonly from: ReplicaId;
  readonly to: ReplicaId;
  readonly term: Term;
  readonly meta: SnapshotMeta;
  readonly descriptor: RangeDescriptor;
  /** About how many bytes of rows follow: what the engine of the sender takes for them. */
  readonly rowBytes: number;
  /** First bytes of the spans whose rows follow: who does not know one of them must not take the rest. */
  readonly namespaces: readonly number[];
  readonly volatileState: Uint8Array;
}

/**
 * How the receiver answers: it takes the snapshot, it does not, it has the next chunk on its disk, or it has
 * the whole.
 */
export type SnapshotAnswer =
  | { readonly type: 'accepted' }
  | { readonly type: 'refused'; readonly reason: string }
  | { readonly type: 'received' }
  | { readonly type: 'written' };

/**
 * Bytes of chunks that may be on their way: sent and not answered with `written`. A larger one goes alone.
 */
export const SNAPSHOT_WINDOW_BYTES = 4 * 1024 * 1024;

/** Read from `min` on, written as `max`. */
const FORMATS = { min: 3, max: 3 };
const ANSWERS: readonly SnapshotAnswer['type'][] = ['accepted', 'refused', 'received', 'written'];
/** Of the sentence in a refusal. */
const REASON_CHARS_MAX = 1000;

/** With a checksum in front: the receiver keeps it on disk until the rows are in place. */
export function encodeSnapshotHeader(header: SnapshotHeader): Buffer {
  const writer = new ByteWriter(1024 + header.volatileState.length);
  writer.u32(0);
  writer.u8(FORMATS.max);
  writer.varint(header.rangeId);
  writer.varint(header.from);
  writer.varint(header.to);
  writer.varint(header.term);
  writer.varint(header.meta.index);
  writer.varint(header.meta.term);
  writeConfigState(writer, header.meta.config);
  writeDescriptor(writer, header.descriptor);
  writer.varint(header.rowBytes);
  writer.bytes(Buffer.from(header.namespaces));
  writer.bytes(header.volatileState);
  return sealFront(writer.take());
}

/** Throws CORRUPTION when the checksum does not match, FORMAT_TOO_NEW for a header of a newer version. */
export function decodeSnapshotHeader(bytes: Uint8Array): SnapshotHeader {
  if (!isFrontSealed(bytes)) {
    throw new CairnError('CORRUPTION', 'the header of a snapshot does not match its checksum');
  }
  const reader = new ByteReader(bytes);
  reader.u32();
  checkFormat('a snapshot', reader.u8(), FORMATS);
  const rangeId = reader.varint48() as RangeId;
  const from = reader.varint48() as ReplicaId;
  const to = reader.varint48() as ReplicaId;
  const term = reader.varint48() as Term;
  const index = reader.varint48() as SnapshotMeta['index'];
  const lastTerm = reader.varint48() as Term;
  const config = readConfigState(reader);
  const descriptor = readDescriptor(reader);
  const rowBytes = reader.varint();
  const namespaces = [...reader.bytes()];
  const volatileState = Buffer.from(reader.bytes());
  reader.expectEnd();
  const meta = { index, term: lastTerm, config };
  return { rangeId, from, to, term, meta, descriptor, rowBytes, namespaces, volatileState };
}

/** Rows with a checksum in front. */
export function encodeSnapshotRows(rows: readonly EngineRow[]): Buffer {
  const writer = new ByteWriter(64 * 1024);
  writer.u32(0);
  writer.varint(rows.length);
  for (const [key, value] of rows) {
    writer.bytes(key);
    writer.bytes(value);
  }
  return sealFront(writer.take());
}

/** Views of the input. Throws CORRUPTION when the checksum does not match. */
export function decodeSnapshotRows(bytes: Buffer): EngineRow[] {
  if (!isFrontSealed(bytes)) {
    throw new CairnError('CORRUPTION', 'a chunk of a snapshot does not match its checksum');
  }
  const reader = new ByteReader(bytes);
  reader.u32();
  const count = reader.varint();
  const rows: EngineRow[] = [];
  for (let at = 0; at < count; at += 1) {
    const key = reader.bytes();
    rows.push([key, reader.bytes()]);
  }
  reader.expectEnd();
  return rows;
}

export function encodeSnapshotAnswer(answer: SnapshotAnswer): Buffer {
  const writer = new ByteWriter(64);
  writer.u8(ANSWERS.indexOf(answer.type));
  writer.string(answer.type === 'refused' ? answer.reason.slice(0, REASON_CHARS_MAX) : '');
  return writer.take();
}

export function decodeSnapshotAnswer(bytes: Uint8Array): SnapshotAnswer {
  const reader = new ByteReader(bytes);
  const type = ANSWERS[reader.u8()];
  const reason = reader.string();
  if (type === undefined) throw new CairnError('CORRUPTION', 'unknown answer to a snapshot');
  return type === 'refused' ? { type, reason } : { type };
}
