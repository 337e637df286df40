import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { FakeRouter } from '../../test/index.js';
import { connect, type CairnClient } from '../client.js';
import { leaseKeys } from './record.js';
import { ClientStore } from './store.js';

const KEYS = leaseKeys('lock', 'x');
const RECORD = { session: 's', attempt: 1, value: 'v' };

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

describe('locks and elections over a router', () => {
  test('are acquired, found held, released, and counted on', async () => {
    const lock = await client.lock('x', { value: 'me' });
    expect([lock.name, lock.token, lock.isHeld]).toEqual(['x', 1n, true]);
    await expect(client.lock('x', { waitMs: 0 })).rejects.toThrow('is held by "me"');
    const guarded = await client.execute({
      if: [lock.guard()],
      then: [{ put: { key: 'data', value: '1' } }],
    });
    expect(guarded.succeeded).toBe(true);
    expect(await lock.release()).toBe(true);
    const next = await client.lock('x');
    expect(next.token).toBe(2n);
    expect((await client.execute({ if: [lock.guard()] })).succeeded).toBe(false);
    await next.release();
    await expect(client.lock('')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  test('have a leader who can be asked for', async () => {
    const election = client.election('x', { ttlMs: 5_000 });
    const leadership = await election.campaign('here');
    await leadership.proclaim('there');
    expect(await election.leader()).toEqual({ value: 'there', token: 1n });
    expect(await leadership.resign()).toBe(true);
    expect(await election.leader()).toBeUndefined();
    expect(() => client.election('a/b')).toThrow('name');
  });

  test('change a row only if it is as expected', async () => {
    const store = new ClientStore(client);
    expect(await store.acquire(KEYS, RECORD, 60_000, {})).toEqual({ acquired: true, token: 1n });
    const other = { ...RECORD, session: 't' };
    const found = await store.acquire(KEYS, other, 60_000, {});
    expect(found).toMatchObject({ acquired: false, holder: RECORD, token: 1n });
    const change = { expected: other, record: RECORD, ttlMs: 60_000 };
    expect(await store.replace(KEYS, change, {})).toEqual({ replaced: false, holder: RECORD });
    const renewed = { expected: RECORD, record: { ...RECORD, value: 'w' }, ttlMs: 60_000 };
    expect(await store.replace(KEYS, renewed, {})).toEqual({ replaced: true });
    expect(await store.remove(KEYS, RECORD, {})).toBe(false);
    expect((await store.read(KEYS, {})).holder?.value).toBe('w');
    expect(await store.remove(KEYS, renewed.record, {})).toBe(true);
    expect(await store.replace(KEYS, renewed, {})).toEqual({ replaced: false, holder: undefined });
    expect(await store.read(KEYS, {})).toMatchObject({ holder: undefined, token: 1n });
  });

  test('refuse rows that others have written', async () => {
    for (const value of ['text', '7', 'null', '{"session":1}']) {
      await client.put(KEYS.holder, value);
      await expect(client.lock('x', { waitMs: 0 })).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    }
    await client.delete(KEYS.holder);
    await client.put(KEYS.token, 'many');
    await expect(client.lock('x', { waitMs: 0 })).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    await expect(client.election('y').leader()).resolves.toBeUndefined();
    await expect(new ClientStore(client).read(KEYS, {})).rejects.toThrow('use another name');
  });
});
