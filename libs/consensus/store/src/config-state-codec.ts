import type { ReplicaId } from '@cairn/base';
import type { ByteReader, ByteWriter } from '@cairn/codec';
import type { ConfigState } from '@cairn/raft';
import { checkMemberCount } from '@cairn/wire';

/** The four lists, in the order that checkpoints and snapshots share. On disk: never reorder. */
export function writeConfigState(writer: ByteWriter, config: ConfigState): void {
  for (const ids of [config.voters, config.outgoing, config.learners, config.learnersNext]) {
    writer.varint(ids.length);
    for (const id of ids) writer.varint(id);
  }
}

/** Reads what `writeConfigState` wrote. Throws CORRUPTION. */
export function readConfigState(reader: ByteReader): ConfigState {
  const list = (): ReplicaId[] => {
    const count = reader.varint();
    checkMemberCount(count);
    const ids: ReplicaId[] = [];
    for (let at = 0; at < count; at += 1) ids.push(reader.varint() as ReplicaId);
    return ids;
  };
  return { voters: list(), outgoing: list(), learners: list(), learnersNext: list() };
}
