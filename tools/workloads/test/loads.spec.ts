/**
 * Goal: a load finds nothing wrong with a store that keeps its promises, whatever it is told late or
 * never, and finds each broken promise by name. Method: many clients on virtual time against a store in
 * memory that keeps them all, or all but one.
 */
import { describe, expect, it } from '@jest/globals';
import { sleep } from '@cairn/ports';
import { SimRng, SimScheduler } from '@cairn/runtime-sim';
import { runCheck } from '@cairn/checkers';

import { Caller, LOADS, newLoad, type Load, type LoadName } from '../src/index.js';
import { FakeStore, type Break } from './fake-store.js';

const CLIENTS = 5;
const RUN_MS = 4_000;

interface Ran {
  readonly faults: readonly string[];
  readonly messages: string;
  readonly succeeded: number;
}

async function run(load: Load, breaks?: Break, seed = 'loads'): Promise<Ran> {
  const scheduler = new SimScheduler();
  const rng = new SimRng(seed);
  const { clock } = scheduler.startProcess('loads');
  const store = new FakeStore(clock, rng.fork('store'), breaks);
  const unexpected: string[] = [];
  const callerOf = (name: string): Caller =>
    new Caller({
      ...{ name, client: store.client(), rng: rng.fork(name) },
      nowMs: () => scheduler.nowMs,
      sleep: (ms) => sleep(clock, ms),
      violate: (message) => unexpected.push(message),
    });
  const callers = Array.from({ length: CLIENTS }, (_, at) => callerOf(`c${at}`));
  const all = async (): Promise<readonly string[]> => {
    await load.layOut(store.client());
    await Promise.all(
      callers.map(async (caller) => {
        while (scheduler.nowMs < RUN_MS) {
          await load.step(caller);
          await sleep(clock, caller.rng.between(0, 10));
        }
      }),
    );
    await sleep(clock, 100);
    return load.finalReads(callerOf('last'));
  };
  const unread = await scheduler.settle(all(), RUN_MS * 10);
  expect(unread).toEqual([]);
  expect(unexpected).toEqual([]);
  const faults = load.judge();
  return {
    faults: [...new Set(faults.flatMap(({ name }) => name.split(', ')))].sort(),
    messages: faults.map(({ name, message }) => `${name}: ${message}`).join('\n'),
    succeeded: callers.reduce((sum, { succeeded }) => sum + succeeded, 0),
  };
}

describe('a store that keeps its promises', () => {
  it.each(LOADS.flatMap((name) => [`${name}`, 'more'].map((seed) => [name, seed] as const)))(
    'holds under %s (%s)',
    async (name, seed) => {
      const { faults, messages, succeeded } = await run(
        newLoad(name, { paddingBytes: 30, restMs: 200 }),
        undefined,
        seed,
      );
      expect({ faults, messages }).toEqual({ faults: [], messages: '' });
      expect(succeeded).toBeGreaterThan(400);
    },
  );
});

/** Which fault, at least, shows which broken promise. */
const BROKEN: readonly (readonly [LoadName, Break, string])[] = [
  ['bank', 'lost-update', 'partial-transfer'],
  ['bank', 'torn-snapshot', 'wrong-total'],
  ['bank', 'partial-commit', 'wrong-total'],
  ['bank', 'aborted-and-there', 'failed-and-there'],
  ['bank', 'forgotten', 'lost'],
  ['bank', 'own-writes-missed', 'own-write'],
  ['list-append', 'lost-update', 'lost-update'],
  ['list-append', 'unvalidated-reads', 'G2'],
  ['list-append', 'stale-snapshot', 'G-single-realtime'],
  ['list-append', 'aborted-and-there', 'G1a'],
  ['sets', 'forgotten', 'lost'],
  ['sets', 'partial-commit', 'partial-commit'],
  ['sets', 'stale-snapshot', 'stale-scan'],
  ['long-fork', 'torn-snapshot', 'long-fork'],
  ['long-fork', 'stale-snapshot', 'stale-read'],
  ['write-skew', 'unvalidated-reads', 'write-skew'],
  ['write-skew', 'unvalidated-spans', 'phantom'],
  ['write-skew', 'early-expiry', 'overlapping-leases'],
  ['monotonic', 'lost-update', 'same-increment'],
  ['monotonic', 'early-timestamp', 'went-back'],
  ['mixed', 'lost-update', 'linearizability'],
  ['mixed', 'forgotten', 'linearizability'],
  ['mixed', 'own-writes-missed', 'own-write'],
  ['mixed', 'early-timestamp', 'ordering'],
  ['watch', 'forgotten', 'gap'],
  ['watch', 'aborted-and-there', 'aborted-event'],
  ['watch', 'partial-commit', 'torn-transaction'],
  ['watch', 'change-lost', 'gap'],
  ['watch', 'change-twice', 'repeat'],
  ['watch', 'change-overtakes', 'out-of-order'],
  ['watch', 'early-mark', 'after-progress'],
  ['watch', 'late-resume', 'gap'],
  ['watch', 'older-previous', 'wrong-previous'],
  ['watch', 'needless-reset', 'reset'],
];

describe('a store that breaks one', () => {
  it.each(BROKEN)('is seen by %s: %s shows as %s', async (name, breaks, fault) => {
    const { faults } = await run(newLoad(name), breaks);
    expect(faults).toContain(fault);
  });
});

it('lets transactions at snapshot isolation read what others change', async () => {
  const { faults } = await run(newLoad('list-append', { isolation: 'snapshot' }), 'unvalidated-reads');
  expect(faults).toEqual([]);
});

it.each(['list-append', 'bank', 'watch'] as const)(
  'writes the history of %s as its checker reads it',
  async (name) => {
    const load = newLoad(name);
    await run(load);
    const lines = load.lines?.() ?? [];
    expect(lines.length).toBeGreaterThan(500);
    const said: string[] = [];
    const say = (text: string): void => void said.push(text);
    const read = (): string[] => [lines.map((line) => `${line}\n`).join('')];
    expect([runCheck([name, 'history'], { read, out: say, error: say }), said.join('')]).toEqual([
      0,
      expect.anything(),
    ]);
  },
);
