/**
 * Goal: keys that a closure locks are its own until it has ended, over all its attempts. Method: a client and
 * an in-memory router in one process.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { callsOf, failureOf } from '../test/expectations.js';
import { FakeRouter } from '../test/index.js';
import { connect, type CairnClient } from './client.js';
import type { KeyLockOptions } from './transaction-options.js';

let router: FakeRouter;
let client: CairnClient;

beforeEach(async () => {
  router = await FakeRouter.start();
  client = connect({ endpoints: [router.endpoint] });
});

afterEach(() => {
  client.close();
  router.kill();
});

const textOf = async (key: string): Promise<string | undefined> => (await client.get(key))?.text();

describe('getForUpdate', () => {
  test('keeps the keys until the commit, and reads behind the reservation', async () => {
    await client.put('a', '1');
    const { held } = router.store.transactions;
    await client.transaction(async (tx) => {
      const [a, b] = await tx.getManyForUpdate(['a', 'b']);
      expect([a?.locked, a?.entry?.text(), b]).toEqual([true, '1', { locked: true, entry: undefined }]);
      expect([...held.keys()]).toEqual(['a', 'b']);
      tx.put('a', '2');
    });
    expect(await textOf('a')).toBe('2');
    expect(held.size).toBe(0);
    const [reserve] = callsOf(router, 'reserve');
    const [commit] = callsOf(router, 'commit');
    expect(reserve).toMatchObject({ start: 0, strength: 1, policy: 1 });
    expect(commit?.owner).toBe(reserve?.owner);
    expect(commit?.reserved.map(String)).toEqual(['b']);
    expect(callsOf(router, 'snapshotGet').map(({ at }) => at)).toEqual([
      { $case: 'timestamp', value: commit?.start },
    ]);
  });

  test('tells keys that were left out from those that are not there', async () => {
    router.store.transactions.held.set('held', 1);
    const found = await client.transaction((tx) =>
      tx.getManyForUpdate(['held', 'absent'], { wait: 'skip-locked', strength: 'share' }),
    );
    expect(found).toEqual([
      { locked: false, entry: undefined },
      { locked: true, entry: undefined },
    ]);
    expect(callsOf(router, 'reserve')).toMatchObject([{ strength: 2, policy: 3 }]);
  });

  test('fails where a key is held, and the closure may go on', async () => {
    router.store.transactions.held.set('held', 1);
    const codes = await client.transaction(async (tx) => {
      const error = await failureOf(tx.getForUpdate('held', { wait: 'nowait', lockTimeoutMs: 5 }));
      await tx.getForUpdate('free');
      tx.put('free', '1');
      return error.code;
    });
    expect(codes).toBe('LOCK_NOT_AVAILABLE');
    expect(await textOf('free')).toBe('1');
  });

  test('keeps its keys for the next attempt, and gives them back however it ends', async () => {
    const { held } = router.store.transactions;
    const seen: (number | undefined)[] = [];
    let attempts = 0;
    await client.transaction(async (tx) => {
      attempts += 1;
      await tx.get('first');
      if (attempts === 1) await client.put('a', 'other');
      seen.push(held.get('a'));
      await tx.getForUpdate('a');
      tx.put('a', 'mine');
    });
    expect(attempts).toBe(2);
    expect(seen[0]).toBeUndefined();
    expect(seen[1]).toBe(callsOf(router, 'reserve')[1]?.owner);
    expect(await textOf('a')).toBe('mine');
    const thrown = client.transaction(async (tx) => {
      await tx.getForUpdate('a');
      throw new Error('enough');
    });
    await expect(thrown).rejects.toThrow('enough');
    await client.get('a');
    expect(held.size).toBe(0);
  });

  test('has own writes before what is stored, and is refused what it does not know', async () => {
    await client.transaction(async (tx) => {
      tx.put('a', 'own');
      expect((await tx.getForUpdate('a')).entry?.text()).toBe('own');
      expect(await tx.getManyForUpdate([])).toEqual([]);
      const wrong = { wait: 'sometimes' } as unknown as KeyLockOptions;
      expect((await failureOf(tx.getForUpdate('a', wrong))).code).toBe('INVALID_ARGUMENT');
      expect((await failureOf(tx.getForUpdate('a', { lockTimeoutMs: 0.5 }))).code).toBe('INVALID_ARGUMENT');
    });
  });
});
