import {
  checkRow,
  incarnationNamedBy,
  incarnationOfMember,
  isRowKey,
  isTombstoneRecord,
  Namespace,
  userKeyEndOf,
  valueOfRecord,
  VERSION_SUFFIX_BYTES,
} from '@cairn/mvcc';

import type { ReplicaState } from './replicas.js';

/**
 * What a replica holds must be whole: every row matches its checksum, and the newest header of each planted
 * collection names as many members as it says. Answers what is not.
 */
export function collectionFaults({ node, rangeId, rows }: ReplicaState): string[] {
  const faults: string[] = [];
  /** The newest header of each key that has one. */
  const headers = new Map<string, Buffer>();
  /** Members that are there, by key and incarnation. */
  const members = new Map<string, number>();
  let chain = '';
  for (const [hex, record] of sorted(rows)) {
    const key = Buffer.from(hex, 'hex');
    if (!isRowKey(key)) continue;
    const value = Buffer.from(record, 'hex');
    checkRow(key, value);
    const isNewest = hex.slice(0, -2 * VERSION_SUFFIX_BYTES) !== chain;
    chain = hex.slice(0, -2 * VERSION_SUFFIX_BYTES);
    if (!isNewest) continue;
    const userKey = key.subarray(1, userKeyEndOf(key)).toString('hex');
    if (key[0] === Namespace.versions) headers.set(userKey, value);
    if (key[0] !== Namespace.members || isTombstoneRecord(value)) continue;
    const name = `${userKey}/${incarnationOfMember(key).toString('hex')}`;
    members.set(name, (members.get(name) ?? 0) + 1);
  }
  for (const [userKey, header] of headers) {
    if (isTombstoneRecord(header)) continue;
    const incarnation = incarnationNamedBy(header);
    if (typeof incarnation === 'string') continue;
    const wanted = valueOfRecord(header).at(-1) ?? 0;
    const found = members.get(`${userKey}/${incarnation.toString('hex')}`) ?? 0;
    if (found !== wanted)
      faults.push(`range ${rangeId} at ${node}: ${userKey} has ${found} members of ${wanted}`);
  }
  return faults;
}

/** By engine key, so that the newest version of a chain comes first. */
function sorted(rows: ReadonlyMap<string, string>): [string, string][] {
  return [...rows].sort(([one], [other]) => (one < other ? -1 : 1));
}
