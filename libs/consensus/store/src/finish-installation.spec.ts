import { describe, expect, it } from '@jest/globals';
import { rangeId, replicaId, storeId, type LogIndex, type RangeDescriptor, type Term } from '@cairn/base';
import { ByteWriter } from '@cairn/codec';
import { MemoryEngine } from '@cairn/engine';
import { noopLogger, noopMetrics, type Disk, type DiskFile, type DiskOpenOptions } from '@cairn/ports';
import { openRaftLog, type RaftLog, type RangeLog } from '@cairn/raft-log';
import { SimDisk, SimRng, SimScheduler } from '@cairn/runtime-sim';

import type { CheckpointState } from './checkpoint-state.js';
import { encodeSnapshotHeader, encodeSnapshotRows } from './snapshot-frames.js';
import { SnapshotInstaller, type SnapshotInstallerParts } from './snapshot-install.js';
import { SpoolWriter } from './snapshot-spool.js';
import type { StateMachine } from './state-machine.js';

const PATH = '/data/snapshots/7-9-1.spool';
const DESCRIPTOR: RangeDescriptor = {
  rangeId: rangeId(7),
  startKey: Buffer.alloc(0),
  endKey: Buffer.alloc(0),
  epoch: { version: 1, confVersion: 1 },
  replicas: [{ replicaId: replicaId(3), storeId: storeId(1), role: 'voter' }],
};

const SPAN = { start: Buffer.from('a'), end: Buffer.from('z') };
const INSTALLING: CheckpointState = {
  replicaId: replicaId(3),
  descriptor: undefined,
  config: { voters: [], outgoing: [], learners: [], learnersNext: [] },
  confVersionSeen: 0,
  // As it was called before the directory was moved.
  installing: PATH.replace('/data', '/before'),
};

function headerBytes(): Buffer {
  return encodeSnapshotHeader({
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
    rowBytes: 8,
    namespaces: [],
    volatileState: Buffer.from('volatile'),
  });
}

function spoolBytes(): Buffer {
  const writer = new ByteWriter(256);
  writer.bytes(headerBytes());
  writer.bytes(encodeSnapshotRows([[Buffer.from('key'), Buffer.from('value')]]));
  return writer.take();
}

function installerOn(disk: Disk, engine: MemoryEngine, log: RaftLog | undefined): SnapshotInstaller {
  const parts: Partial<SnapshotInstallerParts> = {
    ...{ disk, engine, directory: '/data/snapshots', logger: noopLogger },
    ...(log === undefined ? {} : { log }),
    machineFor: () => ({ spans: () => [SPAN] }) as unknown as StateMachine,
    ownRows: { of: () => [SPAN] },
  };
  return new SnapshotInstaller(parts as SnapshotInstallerParts);
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
  const installer = installerOn(disk, new MemoryEngine(), undefined);
  return installer.finishInstallation({} as RangeLog, INSTALLING).catch((error: unknown) => error);
}

describe('an installation that was broken off', () => {
  it('never installs a spool that has rotted, and names it', async () => {
    for (let position = 0; position < spoolBytes().length; position += 1) {
      expect(await failureOf(position)).toMatchObject({ code: 'CORRUPTION', details: { path: PATH } });
    }
  });

  it('reads a spool of any length in pieces of one chunk, and writes it in batches', async () => {
    const medium = new SimDisk(new SimRng(1));
    const disk = medium.attach();
    await disk.makeDirectory('/data/snapshots');
    const file = await disk.open(PATH, { mode: 'write' });
    const writer = new SpoolWriter(file);
    await writer.part(headerBytes());
    const chunks = 50;
    for (let chunk = 0; chunk < chunks; chunk += 1) {
      const key = Buffer.from(`k${String(chunk).padStart(4, '0')}`);
      await writer.part(encodeSnapshotRows([[key, Buffer.alloc(1024 * 1024)]]));
    }
    await writer.close();
    let longestRead = 0;
    const watched: Disk = Object.assign(Object.create(disk) as Disk, {
      open: async (path: string, options: DiskOpenOptions) => {
        const opened = await disk.open(path, options);
        return Object.assign(Object.create(opened) as DiskFile, {
          size: () => opened.size(),
          close: () => opened.close(),
          read: (position: number, length: number) => {
            longestRead = Math.max(longestRead, length);
            return opened.read(position, length);
          },
        });
      },
      remove: (path: string) => disk.remove(path),
      freeBytes: (path: string) => disk.freeBytes(path),
    });
    let largestBatch = 0;
    const engine = new MemoryEngine({
      beforeWrite: (bytes) => {
        largestBatch = Math.max(largestBatch, bytes);
      },
    });
    const log = await openRaftLog({
      ...{ disk, directory: '/data/log', logger: noopLogger, metrics: noopMetrics },
      rng: new SimRng('log'),
      clock: new SimScheduler().clockFor('test'),
    });
    const installer = installerOn(watched, engine, log);
    await installer.finishInstallation(log.range(rangeId(7)), INSTALLING);
    expect(longestRead).toBeLessThan(1.1 * 1024 * 1024);
    expect(largestBatch).toBeLessThan(2.1 * 1024 * 1024);
    const iterator = engine.iterate(SPAN);
    let rows = 0;
    for (let more = await iterator.next(1000); more.length > 0; more = await iterator.next(1000))
      rows += more.length;
    expect(rows).toBe(chunks);
    expect(medium.paths()).not.toContain(PATH);
  });

  it('says which spool is gone or cut short', async () => {
    const medium = new SimDisk(new SimRng(1));
    const disk = medium.attach();
    await disk.makeDirectory('/data/snapshots');
    const installer = installerOn(disk, new MemoryEngine(), undefined);
    const failure = (): Promise<unknown> =>
      installer.finishInstallation({} as RangeLog, INSTALLING).catch((error: unknown) => error);
    expect(await failure()).toMatchObject({ code: 'CORRUPTION', details: { path: PATH, offset: 0 } });
    const file = await disk.open(PATH, { mode: 'write' });
    expect(await failure()).toMatchObject({ code: 'CORRUPTION', details: { path: PATH, offset: 0 } });
    const bytes = spoolBytes();
    await file.write([bytes.subarray(0, bytes.length - 1)], 0);
    expect(await failure()).toMatchObject({ code: 'CORRUPTION', details: { path: PATH } });
  });

  it('writes no row of an installation that was broken off while they have no room, and says how much they need', async () => {
    const medium = new SimDisk(new SimRng(1));
    const disk = medium.attach();
    await disk.makeDirectory('/data/snapshots');
    const file = await disk.open(PATH, { mode: 'write' });
    const writer = new SpoolWriter(file);
    await writer.part(headerBytes());
    await writer.part(encodeSnapshotRows([[Buffer.from('key'), Buffer.alloc(2_000)]]));
    await writer.sync();
    await writer.close();
    medium.setBytesMax(medium.usedBytes + 1_000);
    const engine = new MemoryEngine();
    const installer = installerOn(disk, engine, undefined);
    const failure: unknown = await installer
      .finishInstallation({} as RangeLog, INSTALLING)
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'DISK_FULL', details: { path: PATH } });
    expect((failure as Error).message).toMatch(/range 7 .* needs 2\d\d\d bytes, 1000 are free/);
    expect(await engine.iterate(SPAN).next(1)).toEqual([]);
    expect(medium.paths()).toContain(PATH);
  });
});
