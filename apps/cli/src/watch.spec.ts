/** Goal: changes are shown as they come, for people and as objects, from where one asks for. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { CliHarness } from '../test/harness.js';

let cli: CliHarness;

beforeEach(async () => {
  cli = await CliHarness.start();
});

afterEach(async () => {
  await cli.stop();
});

/** Watches; writes when it has begun. */
async function watched(
  flags: readonly string[],
  writes: readonly (readonly string[])[],
): ReturnType<CliHarness['run']> {
  const { watches } = cli.router.store;
  const before = watches.requests.length;
  const watch = cli.run(['watch', ...flags]);
  while (watches.requests.length === before) await new Promise((resolve) => setTimeout(resolve, 2));
  for (const write of writes) await cli.run(write);
  return watch;
}

const linesOf = (stdout: string): unknown[] =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);

describe('watch', () => {
  test('shows what is put and deleted under a prefix', async () => {
    const done = await watched(
      ['city/', '--previous', '--limit', '3'],
      [
        ['put', 'city/1', 'Bern'],
        ['put', 'other', 'x'],
        ['put', 'city/1', `B${'e'.repeat(80)}`],
        ['del', 'city/1'],
      ],
    );
    expect(done.code).toBe(0);
    expect(done.stdout.replaceAll(/^\d+/gm, 'T')).toMatchInlineSnapshot(`
     "T  put     city/1  Bern  (was absent)
     T  put     city/1  Beeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee…  (was Bern)
     T  delete  city/1  (was Beeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee…)
     "
    `);
  });

  test('answers objects with --json, whose tokens go on behind them', async () => {
    const done = await watched(
      ['--key', 'k', '--json', '--previous', '-n', '2'],
      [
        ['put', 'k', '1', '--ttl', '1h'],
        ['put', 'k', '2'],
        ['put', 'k', '3'],
      ],
    );
    const any = expect.any(String) as unknown;
    const at = expect.any(Number) as unknown;
    const lines = linesOf(done.stdout);
    expect(lines).toEqual([
      { key: 'k', type: 'put', value: '1', version: any, expires: any, timestamp: at, token: any },
      { key: 'k', type: 'put', value: '2', version: any, previous: '1', timestamp: at, token: any },
    ]);
    const { token } = lines[1] as { token: string };
    const rest = await cli.run(['watch', '--from', token, '--limit', '1', '--wide']);
    expect(rest.stdout).toMatch(/^\d+ {2}put {5}k {2}3\n$/);
  });

  test('begins at a moment', async () => {
    await cli.run(['put', '00ff', '0a', '--hex']);
    for (const from of ['-100ms', '5']) {
      const done = await cli.run(['watch', '--start', '00', '--from', from, '-n', '1', '--hex']);
      expect(done.stdout).toMatch(/put {5}00ff {2}0a\n$/);
    }
  });

  test('ends with a reset when its history is gone, and when it is interrupted', async () => {
    cli.router.store.watches.oldest = 1;
    const gone = await cli.run(['watch', '--from', '5']);
    expect(gone.code).toBe(3);
    expect(gone.stderr).toContain('changes that should have come may be forgotten');
    expect(gone.stderr).toContain('Read what is there now, and watch from then on.');
    cli.router.store.watches.oldest = 0;
    const interrupted = watched([], []);
    setTimeout(() => cli.abort.abort(), 50);
    expect((await interrupted).code).toBe(130);
  });

  test.each([
    [['a', '--key', 'b']],
    [['a', '--start', 'b']],
    [['--key', 'a', '--end', 'b']],
    [['--limit', '0']],
    [['--limit', 'x']],
    [['--from', '-x']],
    [['--from', 'no token']],
  ])('is called wrongly with %p', async (flags) => {
    expect((await cli.run(['watch', ...flags])).code).toBe(2);
  });
});
