import { describe, expect, it } from '@jest/globals';
import { CHANGES_BYTES_MIN, KvOp, type Change } from '@cairn/wire';
import fc from 'fast-check';

import { answerOf, bytes, codeOf, settle } from '../kv-rig.testing.js';
import { putOf } from '../txn/txn-rig.testing.js';
import { CATCH_UPS_MAX } from './catch-up-marks.js';
import { ChangesRig, replyIn, textOf, textsOf, type Page } from './changes-rig.testing.js';

const KIB = 1024;
const namesOf = (changes: readonly Change[]): string[] =>
  changes.map(({ key, sequence, timestamp: at }) => `${String(key)} ${at} ${sequence}`);
const all = (pages: readonly Page[]): Change[] => pages.flatMap(({ changes }) => changes);

/** Keys with values that fill several pages. */
async function filled(): Promise<ChangesRig> {
  const rig = await ChangesRig.leading();
  for (let at = 0; at < 10; at += 1) await rig.kv.put(`k${at}`, String(at).repeat(20 * KIB));
  await rig.hear();
  return rig;
}

describe('a catch-up of several pages', () => {
  it('is of one index, and resolved as of that at its end', async () => {
    const rig = await filled();
    const pages = await rig.pollAll();
    expect(pages.length).toBeGreaterThan(3);
    expect(all(pages).map(({ key }) => String(key))).toEqual(Array.from({ length: 10 }, (_, at) => `k${at}`));
    expect(new Set(pages.map(({ index }) => index)).size).toBe(1);
    const resolved = pages.map((page) => page.resolved);
    expect(resolved.slice(0, -1).every((at) => at === 0)).toBe(true);
    expect(resolved.at(-1)).toBe(rig.kv.max);
  });

  it('misses nothing that is written while it goes on: the ring has it', async () => {
    const rig = await filled();
    const first = await rig.poll();
    await rig.kv.put('a', 'early');
    await rig.kv.put('z', 'late');
    const pages = await rig.pollAll();
    expect(pages.at(-1)?.index).toBe(first.index);
    expect(all(pages).map(({ key }) => String(key))).toContain('z');
    expect(all(pages).map(({ key }) => String(key))).not.toContain('a');
    expect(textsOf(await rig.poll())).toEqual(['a=early', 'z=late']);
  });

  it('gets on when the ring has dropped what came meanwhile: what it has read is resolved', async () => {
    const rig = await ChangesRig.leading({ limits: { changeRingBytesMax: 2_000 } });
    for (let at = 0; at < 10; at += 1) await rig.kv.put(`k${at}`, String(at).repeat(20 * KIB));
    await rig.hear();
    await rig.poll();
    for (let at = 0; at < 20; at += 1) await rig.kv.put('a', 'x'.repeat(500));
    const pages = await rig.pollAll();
    expect(rig.after).toBeGreaterThanOrEqual(all(pages)[0]?.timestamp ?? Infinity);
    const rest = await rig.poll({ waitMs: 1_000 });
    expect(rest.changes.map(({ key }) => String(key))).toEqual(['a']);
  });

  it('begins anew with another leader, and when too many go on', async () => {
    const rig = await filled();
    const first = await rig.poll();
    rig.kv.replica.stepDown();
    await rig.kv.replica.lead();
    const again = await rig.poll();
    expect(textsOf(again)).toEqual(textsOf(first));
    const { index, resume } = rig;
    for (let at = 0; at < CATCH_UPS_MAX + 1; at += 1) {
      await rig.kv.put('z', String(at));
      await rig.poll({ index: 0, resume: bytes('') });
    }
    expect(textsOf(await rig.poll({ index, resume }))).toEqual(textsOf(first));
  });

  it('is told versions of one key from old to new, also where they fill pages of their own', async () => {
    const rig = await ChangesRig.leading();
    const versions: string[] = [];
    await rig.kv.put('a', 'x');
    for (let at = 0; at < 12; at += 1) {
      await rig.hear();
      await rig.kv.put('k', String.fromCharCode(97 + at).repeat(15 * KIB));
      versions.push(String.fromCharCode(97 + at));
    }
    await rig.kv.put('l', 'x');
    await rig.hear();
    for (const withPrevious of [false, true]) {
      rig.forget();
      const changes = all(await rig.pollAll({ withPrevious }));
      const told = changes.map(({ key, value, previous }) => {
        const before = previous === undefined ? '' : String(previous.value).slice(0, 1);
        return `${String(key)}${String(value).slice(0, 1)}${before}`;
      });
      const expected = versions.map((name, at) => `k${name}${withPrevious ? (versions[at - 1] ?? '') : ''}`);
      expect(told).toEqual(['ax', ...expected, 'lx']);
    }
  });

  it('passes over what is old, however much of it a key has', async () => {
    const rig = await ChangesRig.leading({ limits: { versionsPerPageMax: 300 } });
    for (let at = 0; at < 700; at += 1) {
      await rig.kv.put('a', String(at));
      await rig.hear();
    }
    const since = await rig.hear();
    await rig.kv.put('a', 'new');
    await rig.kv.put('b', 'new');
    await rig.hear();
    const pages = await rig.pollAll({ after: since });
    expect(all(pages).map(textOf)).toEqual(['a=new', 'b=new']);
  });

  it('ends early where it has looked at enough', async () => {
    const rig = await ChangesRig.leading({ limits: { versionsPerPageMax: 300 } });
    await rig.txn.run({ then: Array.from({ length: 900 }, (_, at) => putOf(`k${1_000 + at}`, '1')) });
    const since = await rig.hear();
    await rig.kv.put('z', '1');
    await rig.hear();
    const pages = await rig.pollAll({ after: since });
    expect(pages.length).toBeGreaterThan(2);
    expect(all(pages).map(textOf)).toEqual(['z=1']);
  });

  it('is stopped by the safe point, a split, and a deadline', async () => {
    const rig = await filled();
    await rig.poll();
    const safePoint = await rig.hear();
    const { term } = rig.kv.replica;
    void rig.kv.machine.purge({ keys: [bytes('\x10a\0\x01')], safePoint, bytes: 1, term, version: 1 });
    const old = rig.send({ waitMs: 0 });
    await rig.kv.run();
    expect(replyIn(answerOf(old))).toEqual({ type: 'reset', oldest: safePoint });
    rig.kv.environment.scanSlots.run = (_call, work) => {
      void rig.kv.clock.advance(50).then(work);
      return true;
    };
    const late = rig.send({ waitMs: 0, index: 0, after: safePoint }, { timeoutMs: 20 });
    await rig.kv.run();
    expect(codeOf(late)).toBe('DEADLINE_EXCEEDED');
  });

  it('finds no place among too many scans', async () => {
    const rig = await filled();
    rig.kv.environment.scanSlots.run = () => false;
    const sent = rig.send({ waitMs: 0 });
    await rig.kv.run();
    expect(codeOf(sent)).toBe('RESOURCE_EXHAUSTED');
  });
});

describe('pages of the ring', () => {
  it('are cut where they are full, also within an entry', async () => {
    const rig = await ChangesRig.following();
    const values = Array.from({ length: 8 }, (_, at) => putOf(`k${at}`, String(at).repeat(20 * KIB)));
    await rig.txn.run({ then: values.slice(0, 6) });
    await rig.txn.run({ then: values.slice(6) });
    await rig.hear();
    for (const withPrevious of [false, true]) {
      const { after, index } = rig;
      const pages = await rig.pollAll({ withPrevious });
      expect(all(pages).map(({ key }) => String(key))).toEqual(values.map(({ key }) => String(key)));
      expect(pages.length).toBeGreaterThan(2);
      expect(pages.every(({ changes }) => changes.length <= 3)).toBe(true);
      expect(pages.slice(0, -1).every(({ resolved }) => resolved === 0)).toBe(true);
      rig.after = after;
      rig.index = index;
    }
    expect(rig.kv.environment.changes.counts.fromEngine).toBe(1);
  });

  it('tell a change that is longer than they are, alone', async () => {
    const rig = await ChangesRig.following();
    await rig.kv.put('a', 'x');
    await rig.kv.put('b', 'y'.repeat(3 * CHANGES_BYTES_MIN));
    await rig.kv.put('c', 'x');
    await rig.hear();
    const told = (pages: readonly Page[]): string[] =>
      pages.map((page) => page.changes.map(({ key }) => key).join());
    expect(told(await rig.pollAll())).toEqual(['a', 'b', 'c']);
    rig.forget();
    expect(told(await rig.pollAll())).toEqual(['a', 'b', 'c']);
  });

  it('tell what was there before: of the ring, of the engine, and nothing of what was not there', async () => {
    const rig = await ChangesRig.leading();
    await rig.kv.put('a', '0');
    await rig.kv.put('c', '0');
    await rig.kv.ask({ op: KvOp.delete, key: bytes('c') });
    await rig.hear();
    await rig.poll();
    await rig.hear();
    for (const value of ['1', '2']) {
      await rig.kv.put('a', value);
      await rig.kv.put('b', value);
    }
    await rig.kv.put('c', '1');
    await rig.kv.ask({ op: KvOp.delete, key: bytes('a') });
    const page = await rig.poll({ withPrevious: true });
    expect(textsOf(page)).toEqual(['a=1(0)', 'b=1', 'a=2(1)', 'b=2(1)', 'c=1', 'a-(2)']);
  });

  it('of a slow engine keep nobody from writing', async () => {
    const rig = await ChangesRig.leading();
    await rig.kv.put('a', '1');
    const { engine } = rig.kv;
    const iterate = engine.iterate.bind(engine);
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    engine.iterate = (span) => {
      const iterator = iterate(span);
      const next = iterator.next.bind(iterator);
      iterator.next = (...counts) => gate.then(() => next(...counts));
      return iterator;
    };
    const sent = rig.send({ waitMs: 0 });
    await rig.kv.run();
    await rig.kv.put('b', '1');
    expect(sent.answers).toHaveLength(0);
    await rig.kv.put('b', '2');
    release();
    await settle();
    // As of the view that was taken first; the ring has the rest.
    expect(textsOf(rig.take(sent))).toEqual(['a=1']);
    expect(textsOf(await rig.poll())).toEqual(['b=1', 'b=2']);
  });
});

describe('whatever is written, asked and lost', () => {
  it('is told whole and once it is resolved in order, after any answer', async () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ type: fc.constant('put' as const), key: fc.nat(5) }) },
      fc.record({ type: fc.constant('transaction' as const), key: fc.nat(5) }),
      fc.record({ type: fc.constant('two-phase' as const), key: fc.nat(5) }),
      { weight: 4, arbitrary: fc.constant({ type: 'poll' as const, key: 0 }) },
      fc.constant({ type: 'hear' as const, key: 0 }),
      fc.constant({ type: 'failover' as const, key: 0 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const rig = await ChangesRig.leading({ limits: { changeRingBytesMax: 1_500 } });
        const told = new Map<string, Change>();
        let isBroken = false;
        const take = (page: Page, before: number): void => {
          for (const change of page.changes) {
            const name = namesOf([change])[0] as string;
            // What is resolved is complete: nothing at or below comes later.
            if (change.timestamp <= before && !told.has(name)) isBroken = true;
            told.set(name, change);
          }
        };
        for (const { type, key } of steps) {
          const value = String(told.size);
          if (type === 'put') await rig.kv.put(`k${key}`, value);
          if (type === 'hear') await rig.hear();
          if (type === 'transaction') {
            await rig.txn.run({ then: [putOf(`k${key}`, value), putOf('k9', value)] });
          }
          if (type === 'two-phase') {
            const start = rig.txn.issue();
            await rig.txn.prewrite(start, { [`k${key}`]: value, k8: value });
            await rig.txn.commit(start, `k${key}`, ['k8']);
          }
          if (type === 'failover') {
            rig.kv.replica.stepDown();
            await rig.kv.replica.lead();
          }
          if (type === 'poll') {
            const before = rig.after;
            take(await rig.poll(), before);
          }
        }
        await rig.hear();
        for (const page of await rig.pollAll()) take(page, 0);
        expect(isBroken).toBe(false);
        const engine = new Set<string>();
        const anew = new ChangesRig(rig.kv);
        for (const name of namesOf(all(await anew.pollAll()))) engine.add(name);
        expect([...engine].filter((name) => !told.has(name))).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });
});
