import type { RangeId, StoreId } from '@cairn/base';

import type { Replica } from './replica.js';
import type { SnapshotHeader } from './snapshot-frames.js';

export interface SnapshotCheckParts {
  /** The store that would receive. */
  readonly storeId: StoreId;
  /** Its replica of the range. */
  readonly replica: Replica | undefined;
  /** The replica that the snapshot is for was removed from here. */
  readonly isGone: boolean;
  /** Another range here covers part of the span. */
  readonly overlaps: { readonly rangeId: RangeId } | undefined;
}

/**
 * Why a snapshot has no place here; undefined when it has. A snapshot replaces all rows of a range, so what a
 * header says of itself counts for nothing: the replica it is for must be here and follow the very replica
 * that sends, in the same term, at the store that the session belongs to. That is what its own log and the
 * messages that the core accepted say.
 */
export function refusalOf(
  header: SnapshotHeader,
  from: StoreId,
  parts: SnapshotCheckParts,
): string | undefined {
  const { replica, overlaps } = parts;
  const { rangeId, to, descriptor, term } = header;
  if (parts.isGone) return `replica ${to} of range ${rangeId} was removed`;
  if (replica?.replicaId !== to) return `store ${parts.storeId} has no replica ${to} of range ${rangeId}`;
  const { term: ownTerm, leaderId, commitIndex } = replica.raft.status();
  if (leaderId !== header.from || ownTerm !== term) {
    return `replica ${to} of range ${rangeId} does not follow replica ${header.from} in term ${term}`;
  }
  if (replica.storeOf(header.from) !== from) return `replica ${header.from} is not at store ${from}`;
  const unlike = unlikelyHeader(header, from, parts.storeId);
  if (unlike !== undefined) return unlike;
  if (header.meta.index <= commitIndex) return `index ${header.meta.index} is known here`;
  const own = replica.descriptorOrUndefined?.epoch;
  const { epoch } = descriptor;
  if (own !== undefined && (epoch.version < own.version || epoch.confVersion < own.confVersion)) {
    return `epoch ${epoch.version}.${epoch.confVersion} is older than ${own.version}.${own.confVersion} here`;
  }
  return overlaps === undefined ? undefined : `range ${overlaps.rangeId} here covers part of the span`;
}

/** A header that contradicts itself. */
function unlikelyHeader(header: SnapshotHeader, from: StoreId, to: StoreId): string | undefined {
  const { descriptor, meta, term, rangeId } = header;
  const { startKey, endKey, replicas } = descriptor;
  const names = (id: number, store: StoreId): boolean =>
    replicas.some((member) => member.replicaId === id && member.storeId === store);
  if (descriptor.rangeId !== rangeId) return `the descriptor is of range ${descriptor.rangeId}`;
  if (!names(header.from, from) || !names(header.to, to)) return 'its descriptor does not name both replicas';
  if (meta.config.voters.length === 0) return 'it has no voters';
  if (meta.term > term || meta.index === 0) return `index ${meta.index} of term ${meta.term} is not of a log`;
  if (endKey.length > 0 && Buffer.compare(startKey, endKey) >= 0) return 'its span is empty';
  return undefined;
}
