import { describe, expect, it } from '@jest/globals';
import { MemoryEngine } from '@cairn/engine';
import { Namespace } from '@cairn/mvcc';

import { settle } from '../kv-rig.testing.js';
import { checkOf, commitOf, replyOf, TxnRig } from './txn-rig.testing.js';

describe('a decision at a range', () => {
  it('that was looked up under an earlier leadership is not believed', async () => {
    const engine = new MemoryEngine({});
    let release: (() => void) | undefined;
    let isSlow = false;
    const first = engine.first.bind(engine);
    engine.first = ((start, end) => {
      const found = first(start, end);
      if (!isSlow || start[0] !== Namespace.transactions) return found;
      return new Promise((resolve) => {
        release = () => {
          resolve(found);
        };
      });
    }) as typeof first;
    const late = await TxnRig.leading({ engine });
    const start = late.issue();
    late.kv.replica.stepDown();
    await late.kv.replica.lead();
    isSlow = true;
    const check = late.write(checkOf(start, 'a'));
    await late.kv.turn();
    const other = await TxnRig.leading();
    other.kv.oracle.next = late.kv.oracle.next;
    await other.prewrite(start, { a: '1' });
    const commit = other.issue();
    await other.tell(commitOf(start, commit, 'a'));
    late.kv.replica.stepDown();
    await late.kv.replica.follow(other.kv.replica.history);
    late.kv.oracle.next = other.kv.oracle.next + 1_000;
    await late.kv.replica.lead();
    isSlow = false;
    release?.();
    await settle();
    await late.kv.run();
    expect(replyOf(check)).toEqual({ type: 'committed', commit });
  });

  it('resolves all keys that came with it, however long that of the primary is', async () => {
    const rig = await TxnRig.leading();
    const start = rig.issue();
    const primary = 'p'.repeat(4_096);
    const others = Array.from({ length: 1_023 }, (_, at) => String(at).padStart(2_000, 'k'));
    const changes = Object.fromEntries([primary, ...others].map((name) => [name, '1']));
    await rig.prewrite(start, changes, primary);
    expect(await rig.commit(start, primary, others)).toMatchObject({ type: 'committed' });
    expect(rig.kv.machine.debugView().locks).toBe(0);
  });
});
