import { timestamp, TIMESTAMP_LOGICAL_STEPS } from '@cairn/base';
import { describe, expect, it } from '@jest/globals';
import { KvOp, STAMP_FIELD, type KvRequest } from '@cairn/wire';

import { answerOf, bytes, codeOf, descriptorOf, KvRig, type RequestFields } from './kv-rig.testing.js';

const increment = (requestId: KvRequest['requestId']): RequestFields => ({
  op: KvOp.increment,
  key: bytes('n'),
  delta: '1',
  requestId,
});
const again = (id: NonNullable<KvRequest['requestId']>): NonNullable<KvRequest['requestId']> => ({
  ...id,
  isRetry: true,
});

describe('a command that is sent again', () => {
  it('waits for the first sending when that is under way', async () => {
    const rig = await KvRig.leading();
    await rig.put('n', '0');
    const id = rig.identity(1);
    const first = rig.send(increment(id));
    await rig.turn();
    const second = rig.send(increment(again(id)));
    await rig.turn();
    expect(rig.replica.log).toHaveLength(1);
    await rig.replica.commit();
    expect(answerOf(first).number).toBe('1');
    expect(answerOf(second).number).toBe('1');
    expect(answerOf(second).sequence).toBe(second.call.request.sequence);
  });

  it('gets the first answer from the window, for every kind of command', async () => {
    const rig = await KvRig.leading();
    const kinds: RequestFields[] = [
      { op: KvOp.put, key: bytes('n'), value: bytes('1') },
      { op: KvOp.increment, key: bytes('n'), delta: '5' },
      { op: KvOp.compareAndSet, key: bytes('n'), expectation: 2, expected: bytes('6'), value: bytes('x') },
      { op: KvOp.compareAndSet, key: bytes('n'), expectation: 2, expected: bytes('6'), value: bytes('y') },
      { op: KvOp.delete, key: bytes('n') },
      { op: KvOp.delete, key: bytes('n') },
      { op: KvOp.deleteRange, key: bytes('a'), endKey: bytes('z') },
    ];
    for (const [at, kind] of kinds.entries()) {
      const requestId = rig.identity(at + 1);
      const first = await rig.ask({ ...kind, requestId });
      expect(first.error).toBeUndefined();
      const entries = rig.replica.history.length;
      const second = await rig.ask({ ...kind, requestId: again(requestId) });
      expect(rig.replica.history).toHaveLength(entries);
      // A failed compare-and-set took effect at no timestamp, and a range deletion is not told of one.
      expect({ ...second, sequence: 0, value: Buffer.from(second.value ?? []) }).toEqual({
        ...first,
        sequence: 0,
        value: Buffer.from(first.value ?? []),
      });
    }
  });

  it('is applied once when the first sending was lost with its leader', async () => {
    const rig = await KvRig.leading();
    await rig.put('n', '0');
    const committed = rig.identity(1);
    const lost = rig.identity(2);
    rig.send(increment(committed));
    await rig.turn();
    rig.send(increment(lost));
    await rig.turn();
    const [first] = rig.replica.log.splice(0);
    rig.replica.stepDown();
    // The new leader has the first entry, not the second.
    await rig.replica.follow(first === undefined ? [] : [first]);
    await rig.replica.lead();
    expect((await rig.ask(increment(again(committed)))).number).toBe('1');
    expect((await rig.ask(increment(again(lost)))).number).toBe('2');
    expect(await rig.get('n')).toBe('2');
  });

  it('is refused with an unknown outcome when it is older than what is remembered', async () => {
    const rig = await KvRig.leading();
    await rig.put('n', '0');
    const id = rig.identity(1);
    await rig.ask(increment(id));
    rig.environment.timestamps.observe(timestamp(rig.max + 60_000 * TIMESTAMP_LOGICAL_STEPS));
    await rig.ask(increment(rig.identity(2)));
    expect((await rig.ask(increment(again(id)))).error?.code).toBe('OUTCOME_UNKNOWN');
    expect(await rig.get('n')).toBe('2');
  });

  it('is found wherever its first sending is, in storms of retries', async () => {
    const rig = await KvRig.leading();
    await rig.put('n', '0');
    const ids = Array.from({ length: 8 }, (_, at) => rig.identity(at + 1));
    const sent = ids.slice(0, 3).map((id) => rig.send(increment(id)));
    await rig.turn();
    sent.push(...ids.slice(2, 5).map((id) => rig.send(increment(again(id)))));
    sent.push(...ids.slice(3, 6).map((id) => rig.send(increment(again(id)))));
    await rig.turn();
    rig.replica.refusal = 'too-many-uncommitted';
    const refused = rig.send(increment(again(ids[6] as (typeof ids)[0])));
    await rig.turn();
    rig.replica.refusal = undefined;
    expect(codeOf(refused)).toBe('RESOURCE_EXHAUSTED');
    sent.push(...ids.slice(5).map((id) => rig.send(increment(again(id)))));
    await rig.turn();
    await rig.replica.commit(1);
    sent.push(...ids.map((id) => rig.send(increment(again(id)))));
    await rig.run();
    const answers = new Map<number, Set<string>>();
    for (const each of sent) {
      const sequence = each.call.request.requestId?.sequence ?? 0;
      answers.set(sequence, (answers.get(sequence) ?? new Set()).add(answerOf(each).number));
    }
    expect([...answers.values()].every((numbers) => numbers.size === 1)).toBe(true);
    expect(answers.size).toBe(8);
    expect(await rig.get('n')).toBe('8');
  });

  it('is evaluated once when the first sending still waits for its row', async () => {
    const rig = await KvRig.leading();
    await rig.put('n', '0');
    rig.environment.rowCache.clear();
    const id = rig.identity(1);
    const first = rig.send(increment(id));
    rig.machine.turn(rig.clock.nowMs());
    const second = rig.send(increment(again(id)));
    const third = rig.send(increment(again(id)));
    await rig.run();
    expect([first, second, third].map((sent) => answerOf(sent).number)).toEqual(['1', '1', '1']);
    expect(await rig.get('n')).toBe('1');
  });

  it('is evaluated once when the first sending arrives after it', async () => {
    const rig = await KvRig.leading();
    await rig.put('n', '0');
    const id = rig.identity(1);
    expect((await rig.ask(increment(again(id)))).number).toBe('1');
    expect((await rig.ask(increment(id))).number).toBe('1');
    expect(await rig.get('n')).toBe('1');
  });

  it('is never applied again by a first sending that comes late, however late', async () => {
    for (const lateMs of [1_000, 19_000, 25_000, 45_000, 600_000]) {
      const rig = await KvRig.leading();
      await rig.put('n', '0');
      const id = rig.identity(1);
      expect((await rig.ask(increment(again(id)))).number).toBe('1');
      // Time goes by, and retries of others come and are forgotten.
      for (let other = 2; other <= 10; other += 1) {
        const passed = timestamp(rig.max + (lateMs / 9) * TIMESTAMP_LOGICAL_STEPS);
        rig.environment.timestamps.observe(passed);
        await rig.ask(increment(again(rig.identity(other))));
      }
      const late = await rig.ask(increment(id));
      if (late.error === undefined) expect(late.number).toBe('1');
      else expect(late.error).toMatchObject({ code: 'UNAVAILABLE', field: STAMP_FIELD });
      expect(await rig.get('n')).toBe('10');
      // What is not late is not held for it.
      expect((await rig.ask(increment(rig.identity(11)))).number).toBe('11');
    }
  });

  it('is never applied again by a first sending that comes after a restart', async () => {
    const rig = await KvRig.leading();
    await rig.put('n', '0');
    const id = rig.identity(1);
    await rig.ask(increment(again(id)));
    await rig.restart([]);
    await rig.replica.lead();
    expect((await rig.ask(increment(id))).error).toMatchObject({ code: 'UNAVAILABLE', field: STAMP_FIELD });
    expect(await rig.get('n')).toBe('1');
    expect((await rig.ask(increment(rig.identity(2)))).number).toBe('2');
  });

  it('is found by a later leader when the first sending arrives there', async () => {
    const rig = await KvRig.leading();
    await rig.put('n', '0');
    const id = rig.identity(1);
    const other = await KvRig.leading();
    other.environment.timestamps.observe(rig.max);
    await other.put('n', '0');
    await other.ask(increment(again(id)));
    rig.replica.stepDown();
    await rig.replica.follow(other.replica.history.slice(-1));
    await rig.replica.lead();
    expect((await rig.ask(increment(id))).number).toBe('1');
  });
});

describe('the request window of a range', () => {
  it('is rebuilt from the log after a restart, and only that', async () => {
    const rig = await KvRig.leading();
    await rig.put('n', '0');
    const forgotten = rig.identity(1);
    await rig.ask(increment(forgotten));
    rig.environment.timestamps.observe(timestamp(rig.max + TIMESTAMP_LOGICAL_STEPS));
    const oldest = rig.identity(2);
    await rig.ask(increment(oldest));
    const entries = rig.replica.history.slice(-1);
    await rig.restart(entries);
    await rig.replica.lead();
    expect((await rig.ask(increment(again(oldest)))).number).toBe('2');
    expect((await rig.ask(increment(again(forgotten)))).error?.code).toBe('OUTCOME_UNKNOWN');
    expect(await rig.get('n')).toBe('2');
  });

  it('goes to the children of a split', async () => {
    const rig = await KvRig.leading();
    await rig.put('n', '0');
    const id = rig.identity(1);
    await rig.ask(increment(id));
    const [child] = rig.machine.split(descriptorOf('', 'm', 2), [descriptorOf('m', '', 2, 8)]);
    const childRig = await KvRig.leading({ descriptor: descriptorOf('m', '', 2, 8) });
    childRig.environment.timestamps.observe(rig.max);
    expect(child?.volatileState()).toEqual(rig.machine.volatileState());
    await childRig.machine.restored(child?.volatileState() ?? new Uint8Array(0));
    expect((await childRig.ask(increment(again(id)))).number).toBe('1');
    expect(childRig.replica.history).toHaveLength(0);
  });

  it('travels with a snapshot', async () => {
    const rig = await KvRig.leading();
    await rig.put('n', '0');
    const id = rig.identity(1);
    await rig.ask(increment(id));
    const other = new KvRig({ isInitial: false });
    await other.machine.restored(rig.machine.volatileState());
    other.environment.timestamps.observe(rig.max);
    await other.replica.lead();
    expect(
      codeOf({ call: other.call(increment(id)).call, answers: [await other.ask(increment(again(id)))] }),
    ).toBe(undefined);
    expect(other.replica.history).toHaveLength(0);
  });
});
