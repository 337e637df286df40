import { CairnError, InvariantError } from '@cairn/base';
import { beforeEach, describe, expect, it, jest } from '@jest/globals';
import { KvOp, ReadConsistency } from '@cairn/wire';

import { failRead } from './damage.js';
import { bytes, codeOf, KvRig, type RequestFields } from './kv-rig.testing.js';

/** Flips one bit of the newest value in the engine, as a failing disk might. */
async function rot(rig: KvRig): Promise<void> {
  const iterator = rig.engine.iterate({ start: bytes(''), end: Buffer.alloc(8, 0xff) });
  const rows = await iterator.next(1_000);
  await iterator.close();
  const row = rows.find(([, value]) => value.includes('intact'));
  if (row === undefined) throw new Error('the row is not in the engine');
  const flipped = Buffer.from(row[1]);
  flipped.writeUInt8(flipped.readUInt8(flipped.length - 1) ^ 4, flipped.length - 1);
  const batch = rig.engine.newBatch();
  batch.put(row[0], flipped);
  await rig.engine.write(batch);
}

describe('a damaged row', () => {
  let rig: KvRig;

  beforeEach(async () => {
    rig = await KvRig.leading();
    await rig.put('k', 'intact');
    rig.environment.rowCache.clear();
    await rot(rig);
  });

  const operations: readonly (readonly [string, RequestFields])[] = [
    ['a read', { op: KvOp.get, key: bytes('k') }],
    ['a stale read', { op: KvOp.get, key: bytes('k'), consistency: ReadConsistency.stale }],
    ['a scan', { op: KvOp.scan, key: bytes('a'), endKey: bytes('z'), limit: 10, pageBytes: 1_000 }],
    ['a write that depends on it', { op: KvOp.increment, key: bytes('k'), delta: '1' }],
    ['a deletion of the span', { op: KvOp.deleteRange, key: bytes('a'), endKey: bytes('z'), limit: 10 }],
  ];

  it.each(operations)('is not served to %s; the node is told to stop', async (_name, fields) => {
    const sent = rig.send(fields);
    await rig.run();
    expect(codeOf(sent)).toBe('UNAVAILABLE');
    expect(rig.damage.map((error) => error.code)).toEqual(['CORRUPTION']);
  });

  it('is not copied to another replica', () => {
    const [span] = rig.machine.spans();
    expect(span).toBeDefined();
    expect(() => rig.machine.checkRow(Buffer.from([0x10, 1, 2]), Buffer.from('what is this'))).toThrow(
      'checksum',
    );
  });
});

describe('a broken invariant', () => {
  it('is no failed read: it is thrown on', () => {
    const damaged: unknown[] = [];
    const failed: string[] = [];
    const listener = { damaged: (error: unknown) => damaged.push(error) };
    const call = { fail: (code: string) => failed.push(code) };
    const broken = new InvariantError('what cannot happen');
    const later = jest.spyOn(globalThis, 'queueMicrotask').mockImplementation(() => undefined);
    expect(() => {
      failRead(listener, call, broken);
    }).toThrow(broken);
    // It ends the process, whoever else catches it.
    expect(later).toHaveBeenCalledTimes(1);
    later.mockRestore();
    failRead(listener, call, new CairnError('RESOURCE_EXHAUSTED', 'too many views'));
    expect([damaged, failed]).toEqual([[], ['RESOURCE_EXHAUSTED']]);
  });
});
