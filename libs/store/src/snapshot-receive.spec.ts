import { expect, it } from '@jest/globals';
import { rangeId, replicaId, storeId, type LogIndex, type RangeDescriptor, type Term } from '@cairn/base';
import { ByteWriter } from '@cairn/codec';
import { MemoryEngine } from '@cairn/engine';
import { noopLogger } from '@cairn/ports';
import type { RangeLog } from '@cairn/raft-log';
import { SimDisk, SimRng } from '@cairn/runtime-sim';

import type { CheckpointState } from './checkpoint-state.js';
import { encodeSnapshotHeader, encodeSnapshotRows } from './snapshot-frames.js';
import { SnapshotReceiver, type SnapshotReceiverParts } from './snapshot-receive.js';
import type { StateMachine } from './state-machine.js';

const PATH = '/data/snapshots/7-9-1.spool';
const DESCRIPTOR: RangeDescriptor = {
  rangeId: rangeId(7),
  startKey: Buffer.alloc(0),
  endKey: Buffer.alloc(0),
  epoch: { version: 1, confVersion: 1 },
  replicas: [{ replicaId: replicaId(3), storeId: storeId(1), role: 'voter' }],
};

function spoolBytes(): Buffer {
  const header = encodeSnapshotHeader({
    rangeId: DESCRIPTOR.rangeId,
    from: replicaId(4),
    to: replicaId(3),
    term: 2 as Term,
    meta: {
      index: 9 as LogIndex,
      term: 2 as Term,
      config: { voters: [replicaId(3)], outgoing: [], learners: [], learnersNext: [] },
    },
    descriptor: DESCRIPTOR,
    volatileState: Buffer.from('volatile'),
  });
  const writer = new ByteWriter(256);
  writer.bytes(header);
  writer.bytes(encodeSnapshotRows([[Buffer.from('key'), Buffer.from('value')]]));
  return writer.take();
}

/** Takes up the installation of a spool with one bit flipped. */
async function failureOf(position: number): Promise<unknown> {
  const medium = new SimDisk(new SimRng(1));
  const disk = medium.attach();
  await disk.makeDirectory('/data/snapshots');
  const file = await disk.open(PATH, { mode: 'write' });
  await file.write([spoolBytes()], 0);
  await file.sync();
  medium.flipBit(PATH, position, 2);
  const span = { start: Buffer.from('a'), end: Buffer.from('z') };
  const parts: Partial<SnapshotReceiverParts> = {
    disk,
    engine: new MemoryEngine(),
    logger: noopLogger,
    machineFor: () => ({ spans: () => [span] }) as unknown as StateMachine,
  };
  const receiver = new SnapshotReceiver(parts as SnapshotReceiverParts);
  const state: CheckpointState = {
    replicaId: replicaId(3),
    descriptor: undefined,
    config: { voters: [], outgoing: [], learners: [], learnersNext: [] },
    confVersionSeen: 0,
    installing: PATH,
  };
  return receiver.finishInstallation({} as RangeLog, state).catch((error: unknown) => error);
}

it('never installs a spool that has rotted, and names it', async () => {
  for (let position = 0; position < spoolBytes().length; position += 1) {
    expect(await failureOf(position)).toMatchObject({ code: 'CORRUPTION', details: { path: PATH } });
  }
});
