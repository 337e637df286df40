/**
 * Goal: what the README shows of transactions and changes works. Method: the examples stand here, are run,
 * and must be in the README as they are here.
 */
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { FakeRouter } from '../test/index.js';
import { connect, type CairnClient } from './client.js';

const README = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const SOURCE = readFileSync(new URL('./readme.spec.ts', import.meta.url), 'utf8');

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

test('a transfer', async () => {
  await client.put('account/a', '100');
  const transfer = async (): Promise<number> => {
    // example
    const left = await client.transaction(async (tx) => {
      const [from, to] = await tx.getMany(['account/a', 'account/b']);
      const rest = Number(from?.text() ?? 0) - 30;
      if (rest < 0) throw new Error('too little is there'); // rejects as it is, and nothing happened
      tx.put('account/a', String(rest));
      tx.put('account/b', String(Number(to?.text() ?? 0) + 30));
      await tx.increment('transfers');
      return rest;
    });
    // end
    return left;
  };
  expect([await transfer(), await transfer(), await transfer()]).toEqual([70, 40, 10]);
  await expect(transfer()).rejects.toThrow('too little is there');
  expect([await textOf('account/a'), await textOf('account/b'), await textOf('transfers')]).toEqual([
    ...['10', '90', '3'],
  ]);
});

test('a lock', async () => {
  const take = async (): Promise<string | undefined> => {
    // example
    const { succeeded, results } = await client.execute({
      if: [{ key: 'lock', absent: true }],
      then: [{ put: { key: 'lock', value: 'me', ttlMs: 30_000 } }],
      else: [{ get: { key: 'lock' } }],
    });
    const holder = succeeded ? 'me' : results[0]?.text();
    // end
    return holder;
  };
  expect(await take()).toBe('me');
  await client.put('lock', 'you');
  expect(await take()).toBe('you');
});

test('writes together, and one instant', async () => {
  const read = async (): Promise<number> => {
    // example
    const { timestamp } = await client.writeMany(
      [{ put: { key: 'page/1', value: 'new' } }, { delete: { key: 'page/0' } }],
      { atomic: true },
    );
    const then = await client.snapshot({ at: timestamp }); // or a Date, or -10_000: ten seconds ago
    const pages = await then.scan({ prefix: 'page/' }).toArray();
    // end
    return pages.length;
  };
  expect(await read()).toBe(1);
});

test('changes', async () => {
  const follow = async (): Promise<string[]> => {
    const seen: string[] = [];
    let token = '';
    // example
    const watch = client.watch({ prefix: 'city/', withPrevious: true });
    await watch.start(); // optional: from here on nothing is missed
    for await (const change of watch) {
      seen.push(`${change.type} ${change.keyText()} ${change.text()} was ${String(change.previous?.value)}`);
      token = change.token; // text to keep: client.watch({ prefix: 'city/', from: token }) goes on behind it
      if (change.type === 'delete') break;
    }
    // end
    return [...seen, token];
  };
  const following = follow();
  while (router.store.watches.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  await client.put('city/1', 'Bern');
  await client.put('city/1', 'Basel');
  await client.delete('city/1');
  expect((await following).slice(0, 3)).toEqual([
    'put city/1 Bern was undefined',
    'put city/1 Basel was Bern',
    'delete city/1  was Basel',
  ]);
});

test('they are in the README as they are here', () => {
  const examples = SOURCE.split(`// ${'example'}\n`).slice(1);
  expect(examples).toHaveLength(4);
  for (const example of examples) {
    const [code = ''] = example.split('    // end\n');
    expect(README).toContain(code.replaceAll(/^ {4}/gm, '').trim());
  }
});
