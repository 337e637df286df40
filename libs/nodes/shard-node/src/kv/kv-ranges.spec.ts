import { CairnError } from '@cairn/base';
import { describe, expect, it } from '@jest/globals';
import { KvOp } from '@cairn/wire';

import {
  answerOf,
  bytes,
  codeOf,
  descriptorOf,
  KvRig,
  settle,
  type RequestFields,
} from './kv-rig.testing.js';

const put = (key: string, value: string): RequestFields => ({
  op: KvOp.put,
  key: bytes(key),
  value: bytes(value),
});
const deleteRange = (key: string, endKey: string, limit = 100): RequestFields => ({
  op: KvOp.deleteRange,
  key: bytes(key),
  endKey: bytes(endKey),
  limit,
});

async function filled(): Promise<KvRig> {
  const rig = await KvRig.leading();
  for (const key of ['a', 'b', 'c', 'd']) await rig.put(key, key);
  return rig;
}

const there = async (rig: KvRig): Promise<string> => {
  let found = '';
  for (const key of ['a', 'b', 'c', 'd']) if ((await rig.get(key)) !== undefined) found += key;
  return found;
};

describe('range deletions', () => {
  it('remove a span in chunks and say where to go on', async () => {
    const rig = await filled();
    const first = await rig.ask(deleteRange('a', 'd', 2));
    expect([first.count, Buffer.from(first.resumeKey ?? []).toString('latin1')]).toEqual([2, 'b\0']);
    const second = await rig.ask(deleteRange('b\0', 'd'));
    expect([second.count, second.resumeKey]).toEqual([1, undefined]);
    expect(await there(rig)).toBe('d');
  });

  it('hold writes while they read, so that what they delete is what was there', async () => {
    const rig = await filled();
    const deletion = rig.send(deleteRange('', ''));
    rig.machine.turn(rig.clock.nowMs());
    const write = rig.send(put('e', 'new'));
    const other = rig.send(deleteRange('', ''));
    rig.machine.turn(rig.clock.nowMs());
    expect(rig.replica.log).toHaveLength(0);
    await settle();
    await rig.run();
    expect(answerOf(deletion).count).toBe(4);
    expect(answerOf(write).error).toBeUndefined();
    expect(answerOf(other).error).toBeUndefined();
    expect(rig.machine.debugView().isExclusive).toBe(false);
  });

  it('wait for the writes under way', async () => {
    const rig = await filled();
    const write = rig.send(put('b2', 'new'));
    const deletion = rig.send(deleteRange('', ''));
    await rig.turn();
    await rig.run();
    expect(answerOf(write).error).toBeUndefined();
    expect(answerOf(deletion).count).toBe(5);
    expect(await rig.get('b2')).toBeUndefined();
  });

  it('let the writes go when they fail or are refused', async () => {
    const rig = await filled();
    const { engine } = rig;
    const iterate = engine.iterate.bind(engine);
    engine.iterate = () => {
      throw new CairnError('RESOURCE_EXHAUSTED', 'too many views');
    };
    const broken = rig.send(deleteRange('', ''));
    await rig.run();
    expect(codeOf(broken)).toBe('RESOURCE_EXHAUSTED');
    engine.iterate = iterate;
    rig.replica.refusal = 'too-many-uncommitted';
    const refused = rig.send(deleteRange('', ''));
    await rig.turn();
    expect(codeOf(refused)).toBe('RESOURCE_EXHAUSTED');
    rig.replica.refusal = undefined;
    expect(rig.machine.debugView().isExclusive).toBe(false);
    expect((await rig.put('a', 'again')).error).toBeUndefined();
    expect(await there(rig)).toBe('abcd');
  });

  it('let everybody go when leadership is lost, and the next deletion alone', async () => {
    const rig = await filled();
    const deletion = rig.send(deleteRange('', ''));
    rig.machine.turn(rig.clock.nowMs());
    const held = rig.send(put('e', 'new'));
    const waiting = rig.send(deleteRange('', ''));
    rig.machine.turn(rig.clock.nowMs());
    rig.replica.stepDown();
    rig.machine.turn(rig.clock.nowMs());
    expect([codeOf(held), codeOf(waiting)]).toEqual(['NOT_LEADER', 'NOT_LEADER']);
    await settle();
    expect(codeOf(deletion)).toBe('NOT_LEADER');
    expect(rig.replica.log).toHaveLength(0);
    await rig.replica.lead();
    expect((await rig.ask(deleteRange('', ''))).count).toBe(4);
  });

  it('do not trust what they read before leadership was lost and won again', async () => {
    const rig = await filled();
    const old = rig.send(deleteRange('', ''));
    rig.machine.turn(rig.clock.nowMs());
    rig.replica.stepDown();
    // Wins at once: the deletion still reads.
    const leading = rig.replica.lead();
    await rig.put('e', 'new');
    await leading;
    expect(codeOf(old)).toBe('NOT_LEADER');
    expect(await there(rig)).toBe('abcd');
    expect(rig.machine.debugView().isExclusive).toBe(false);
  });

  it('delete nothing through a range that is being cut', async () => {
    const rig = await filled();
    const deletion = rig.send(deleteRange('', ''));
    rig.machine.turn(rig.clock.nowMs());
    rig.replica.isFrozen = true;
    await settle();
    await rig.turn();
    expect(rig.replica.log).toHaveLength(0);
    rig.machine.split(descriptorOf('', 'c', 2), [descriptorOf('c', '', 2, 8)]);
    rig.machine.descriptorChanged(descriptorOf('', 'c', 2));
    rig.replica.isFrozen = false;
    await rig.turn();
    expect(codeOf(deletion)).toBe('EPOCH_MISMATCH');
  });
});

describe('ranges that change', () => {
  it('hold requests while frozen and send those of moved keys on afterwards', async () => {
    const rig = await filled();
    rig.replica.isFrozen = true;
    const kept = rig.send(put('a', 'new'));
    const moved = rig.send(put('d', 'new'));
    const read = rig.send({ op: KvOp.get, key: bytes('a') });
    await rig.turn();
    expect([kept, moved, read].every((sent) => sent.answers.length === 0)).toBe(true);
    const left = descriptorOf('', 'c', 2);
    rig.machine.split(left, [descriptorOf('c', '', 2, 8)]);
    rig.machine.descriptorChanged(left);
    rig.replica.isFrozen = false;
    await rig.run();
    for (const sent of [kept, moved, read]) {
      expect(codeOf(sent)).toBe('EPOCH_MISMATCH');
      expect(answerOf(sent).error?.descriptors).toEqual([left]);
    }
    expect((await rig.put('a', 'newer')).error).toBeUndefined();
    expect((await rig.put('d', 'newer')).error?.code).toBe('EPOCH_MISMATCH');
  });

  it('begin with empty memory after a snapshot', async () => {
    const rig = await filled();
    const { start, end } = rig.machine.spans()[0] ?? { start: bytes(''), end: bytes('') };
    await rig.engine.deleteRange(start, end);
    await rig.machine.restored(rig.machine.volatileState());
    expect(await there(rig)).toBe('');
  });

  it('drop requests whose time is up or that nobody waits for', async () => {
    const rig = await filled();
    rig.replica.isFrozen = true;
    const late = rig.send({ ...put('a', 'x'), timeoutMs: 50 });
    const cancelled = rig.send(put('b', 'x'));
    await rig.turn();
    cancelled.call.isCancelled = true;
    await rig.clock.advance(60);
    rig.replica.isFrozen = false;
    await rig.run();
    expect(codeOf(late)).toBe('DEADLINE_EXCEEDED');
    expect(cancelled.call.isDone).toBe(true);
    expect(cancelled.answers).toHaveLength(0);
    expect(await rig.get('b')).toBe('b');
  });
});
