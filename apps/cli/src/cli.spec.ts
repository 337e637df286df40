/**
 * Goal: what people and scripts see. Method: whole command lines against a fake router; output is compared
 * with stored texts, so that a change of words is a decision.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { NodeState } from '@cairn/client';
import { CliHarness } from '../test/harness.js';

let cli: CliHarness;

beforeEach(async () => {
  cli = await CliHarness.start();
});

afterEach(async () => {
  await cli.stop();
});

describe('data', () => {
  test('put, get, del', async () => {
    expect(await cli.run(['put', 'greeting', 'hello'])).toMatchObject({
      code: 0,
      stdout: 'OK\n',
      stderr: '',
    });
    expect(await cli.run(['get', 'greeting'])).toMatchObject({ code: 0, stdout: 'hello\n' });
    expect((await cli.run(['get', 'greeting', '--raw'])).stdout).toBe('hello');
    expect(await cli.run(['del', 'greeting', 'nothing'])).toMatchObject({
      code: 0,
      stdout: '1 of 2 keys existed; all are gone now\n',
    });
    expect(await cli.run(['get', 'greeting'])).toMatchObject({ code: 1, stdout: '' });
    expect((await cli.run(['del', 'greeting'])).code).toBe(1);
  });

  test('spans are removed by prefix and by range, and never by accident', async () => {
    for (const key of ['a1', 'a2', 'b1', 'c1']) await cli.run(['put', key, 'x']);
    expect(await cli.run(['del', '--prefix', 'a'])).toMatchObject({ code: 0, stdout: '2 keys removed\n' });
    expect(await cli.run(['del', '--range', 'b', 'c'])).toMatchObject({ code: 0, stdout: '1 key removed\n' });
    expect(cli.router.store.size).toBe(1);
    expect((await cli.run(['del'])).code).toBe(2);
    expect((await cli.run(['del', '--prefix', 'a', 'b'])).code).toBe(2);
    expect((await cli.run(['del', '--range', 'b'])).code).toBe(2);
  });

  test('bytes go in and out as hex and base64, from files and standard input', async () => {
    await writeFile(cli.path('value'), Buffer.from([0, 255, 10]));
    expect((await cli.run(['put', '--hex', '00ff', '--file', cli.path('value')])).code).toBe(0);
    expect((await cli.run(['get', '--hex', '00ff'])).stdout).toBe('00ff0a\n');
    expect((await cli.run(['get', '--base64', 'AP8='])).stdout).toBe('AP8K\n');
    expect((await cli.run(['get', '--hex', '00ff', '--raw'])).bytes).toEqual(Buffer.from([0, 255, 10]));
    await cli.run(['put', 'k', '-f', '-'], Buffer.from([1, 0x5c, 0xc3, 0x28]));
    expect((await cli.run(['get', 'k'])).stdout).toBe('\\x01\\\\\\xc3(\n');
    expect((await cli.run(['get', 'k', '--json'])).stdout).toContain('"value":{"base64":"AVzDKA=="}');
    expect((await cli.run(['get', '--hex', 'xyz'])).code).toBe(2);
  });

  test('keys that hold no bytes are shown with their kind, and no value', async () => {
    await cli.run(['put', 'cart', 'x']);
    cli.router.store.kinds.set('cart', 1);
    expect((await cli.run(['scan', 'cart'])).stdout).toContain('(hash)');
    const shown = JSON.parse((await cli.run(['scan', 'cart', '--json'])).stdout) as unknown;
    expect(shown).toEqual({ key: 'cart', kind: 'hash', version: expect.any(String) as unknown });
  });

  test('keys that disappear by themselves are shown with the time, in get and in scan', async () => {
    const before = Date.now();
    await cli.run(['put', 'session', 'x', '--ttl', '1h']);
    await cli.run(['put', 'stays', 'y']);
    const shown = JSON.parse((await cli.run(['get', 'session', '--json'])).stdout) as { expires: string };
    const inMs = Date.parse(shown.expires) - before;
    expect(inMs).toBeGreaterThanOrEqual(3_600_000);
    expect(inMs).toBeLessThan(3_700_000);
    const lines = (await cli.run(['scan', '--json'])).stdout.trimEnd().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { expires?: string }).expires)).toEqual([
      shown.expires,
      undefined,
    ]);
  });

  test('expire and persist change when a key disappears', async () => {
    const expiryOf = async (): Promise<string | undefined> =>
      (JSON.parse((await cli.run(['get', 'session', '--json'])).stdout) as { expires?: string }).expires;
    await cli.run(['put', 'session', 'x']);
    expect(await expiryOf()).toBeUndefined();
    expect(await cli.run(['expire', 'session', '30m'])).toMatchObject({ code: 0, stdout: 'OK\n' });
    expect(await expiryOf()).toMatch(/^\d{4}-/);
    expect((await cli.run(['persist', 'session', '--json'])).stdout).toMatch(/^{"version":"[0-9a-f]{24}"/);
    expect(await expiryOf()).toBeUndefined();
    expect(await cli.run(['persist', 'session'])).toMatchObject({ code: 0, stdout: 'OK\n' });
    for (const argv of [
      ['expire', 'none', '1s'],
      ['persist', 'none'],
    ])
      expect(await cli.run(argv)).toMatchObject({ code: 1, stderr: 'cairn: there is no key none\n' });
    expect((await cli.run(['expire', 'session', '0s'])).code).toBe(2);
    expect((await cli.run(['expire', 'session', 'soon'])).code).toBe(2);
  });

  test('what is longer than any value is not read to its end', async () => {
    const longest = Buffer.alloc(8 * 1024 * 1024);
    await writeFile(cli.path('longer'), Buffer.concat([longest, Buffer.from([1])]));
    const sentence = 'has more than 8.0 MiB: no value may be longer';
    for (const [argv, stdin] of [
      [['put', 'k', '--file', cli.path('longer')], ''],
      [['put', 'k', '--file', '/dev/zero'], ''],
      [['put', 'k', '--file', '-'], Buffer.concat([longest, Buffer.from([1])])],
    ] as const) {
      const refused = await cli.run(argv, stdin);
      expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining(sentence) });
    }
    expect(cli.router.operations).toEqual([]);
  });

  test('cas says what is there when it did not happen', async () => {
    expect((await cli.run(['cas', 'lock', 'me', '--absent'])).code).toBe(0);
    expect(await cli.run(['cas', 'lock', 'you', '--absent'])).toMatchObject({
      code: 1,
      stdout: 'not changed: the key holds me\n',
    });
    const shown = JSON.parse((await cli.run(['get', 'lock', '--json'])).stdout) as { version: string };
    expect((await cli.run(['cas', 'lock', '--delete', '--expect-version', shown.version])).code).toBe(0);
    expect(await cli.run(['cas', 'lock', 'x', '--expect', 'me'])).toMatchObject({
      code: 1,
      stdout: 'not changed: the key does not exist\n',
    });
    expect((await cli.run(['cas', 'lock', 'x'])).code).toBe(2);
  });

  test('incr', async () => {
    expect((await cli.run(['incr', 'n'])).stdout).toBe('1\n');
    expect((await cli.run(['incr', 'n', '--by', '-5'])).stdout).toBe('-4\n');
    await cli.run(['put', 'n', 'seven']);
    expect(await cli.run(['incr', 'n'])).toMatchObject({
      code: 3,
      stderr: 'cairn: the value is not an integer\n',
    });
    expect((await cli.run(['incr', 'n', '--by', 'much'])).code).toBe(2);
  });

  test('scan in tables', async () => {
    await cli.run(['put', 'city/rome', 'Rome']);
    await cli.run(['put', 'city/東京', 'Tōkyō\nline two']);
    await cli.run(['put', 'city/long', 'x'.repeat(200)]);
    await cli.run(['put', 'dog', 'wuff']);
    expect((await cli.run(['scan', 'city/'])).stdout).toMatchSnapshot();
    expect((await cli.run(['scan', '-k', '-n', '2'])).stdout).toMatchSnapshot();
    expect((await cli.run(['scan', '--start', 'd', '--reverse'])).stdout).toMatchSnapshot();
    expect((await cli.run(['scan', 'nothing'])).stdout).toMatchSnapshot();
    const lines = (await cli.run(['scan', '--json', '--keys-only'])).stdout.trimEnd().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { key: string }).key)).toEqual([
      'city/long',
      'city/rome',
      'city/東京',
      'dog',
    ]);
  });

  test('a table stops at 100 rows and says that there are more', async () => {
    const rows = Array.from(
      { length: 101 },
      (_, index) => `{"key":"k${String(index).padStart(3, '0')}","value":"v"}`,
    );
    await cli.run(['import', '-'], rows.join('\n'));
    expect((await cli.run(['scan'])).stdout.trimEnd().split('\n').at(-1)).toBe(
      '(first 100 rows; more with --limit, all with --limit 0)',
    );
    expect((await cli.run(['scan', '-n', '0'])).stdout.trimEnd().split('\n').at(-1)).toBe('(101 rows)');
  });
});

describe('cluster', () => {
  test('status says what needs attention', async () => {
    const result = await cli.run(['status']);
    expect(result.code).toBe(1);
    expect(result.stdout).toMatchSnapshot();
    expect(JSON.parse((await cli.run(['status', '--json'])).stdout)).toMatchObject({ health: 'attention' });
  });

  test('status of a cluster of which not all is known yet says so, and that it is not healthy', async () => {
    cli.router.cluster.problems = [];
    cli.router.cluster.unsettled = ['the first range is being made'];
    cli.router.cluster.absence = NodeState.NOT_HEARD_YET;
    const result = await cli.run(['status']);
    expect(result.code).toBe(1);
    expect(result.stdout).toMatch(/^health {4}settling$/m);
    expect(result.stdout).toMatch(/^shard {5}2 of 3 live, 1 not heard from yet$/m);
    expect(result.stdout).toMatch(/^ranges {4}1 known so far$/m);
    expect(result.stdout).toMatch(/^ {2}… the first range is being made$/m);
    expect(JSON.parse((await cli.run(['status', '--json'])).stdout)).toMatchObject({ health: 'settling' });
    expect((await cli.run(['nodes'])).stdout).toMatch(/shard-3 .*\| not heard yet \|/);
  });

  test('status does not count a store that was declared lost', async () => {
    cli.router.cluster.problems = [];
    cli.router.cluster.absence = NodeState.LOST;
    const result = await cli.run(['status']);
    expect(result.code).toBe(0);
    expect(result.stdout).toMatch(/^shard {5}2 of 2 live, 1 declared lost$/m);
    expect((await cli.run(['nodes'])).stdout).toMatch(/shard-3 .*\| declared lost \|/);
  });

  test('an upgrade that waits is told with what it waits for, and held and let go', async () => {
    const { cluster } = cli.router;
    cluster.problems = [];
    expect(await cli.run(['upgrade', 'status'])).toMatchObject({
      code: 0,
      stdout: 'cluster version 2, as new as any node knows\n',
    });
    cluster.newestClusterVersion = 3;
    cluster.upgradeWaits = ['still Cairn 0.1.0, which runs with 1 to 2: shard-2'];
    const text =
      'cluster version 2, on its way to 3:\n  … still Cairn 0.1.0, which runs with 1 to 2: shard-2\n';
    expect(await cli.run(['upgrade', 'status'])).toMatchObject({ code: 1, stdout: text });
    const hold = async (): Promise<unknown> => {
      const { stdout } = await cli.run(['settings', '--json']);
      return stdout.split('\n').find((line) => line.includes('cluster.version_hold'));
    };
    const heldText = `${text}held at 2 (cairn upgrade finalize takes it back)\n`;
    expect(await cli.run(['upgrade', 'hold'])).toMatchObject({ code: 0, stdout: heldText });
    expect(await cli.run(['upgrade', 'status'])).toMatchObject({ code: 1, stdout: heldText });
    expect(await hold()).toMatch(/"value":"2".*"isDefault":false/);
    expect(await cli.run(['upgrade', 'finalize'])).toMatchObject({ code: 0, stdout: text });
    expect(await hold()).toMatch(/"isDefault":true/);
    const status = await cli.run(['status']);
    expect(status.code).toBe(0);
    expect(status.stdout).toMatch(
      /^version {3}0.1.0-fake, cluster version 2\nupgrade {3}to cluster version 3$/m,
    );
    expect(status.stdout).toMatch(/^ {2}… still Cairn 0.1.0/m);
    cluster.upgradeWaits = [];
    expect((await cli.run(['upgrade', 'status'])).stdout).toMatch(/it rises in a moment/);
    expect(JSON.parse((await cli.run(['upgrade', 'status', '--json'])).stdout)).toEqual({
      clusterVersion: 2,
      newestClusterVersion: 3,
      upgradeWaits: [],
      heldAt: null,
    });
  });

  test('a hold is told while there is nothing to rise to, and where it comes too late', async () => {
    cli.router.cluster.problems = [];
    const over = 'cluster version 2, as new as any node knows\n';
    const held = 'held at 2 (cairn upgrade finalize takes it back)';
    const heldAt = async (): Promise<unknown> => {
      const [own, whole] = [['upgrade', 'status'], ['status']].map(async (argv) => {
        const { heldAt: version } = JSON.parse((await cli.run([...argv, '--json'])).stdout) as {
          heldAt: unknown;
        };
        return version;
      });
      expect(await own).toBe(await whole);
      return own;
    };
    expect((await cli.run(['status'])).stdout).not.toMatch(/^upgrade/m);
    expect(await heldAt()).toBeNull();
    expect(await cli.run(['upgrade', 'hold'])).toMatchObject({ code: 0, stdout: `${over}${held}\n` });
    expect((await cli.run(['status'])).stdout).toContain(`\nupgrade   ${held}\n`);
    expect(await heldAt()).toBe(2);
    expect(await cli.run(['upgrade', 'finalize'])).toMatchObject({ code: 0, stdout: over });
    expect((await cli.run(['settings', 'cluster.version_hold=1'])).stderr).toBe(
      'cairn: the cluster version is 2 and never falls: it is held there\n',
    );
    expect(await heldAt()).toBe(2);
    expect((await cli.run(['settings', 'cluster.version_hold=5'])).stderr).toBe('');
    expect(await heldAt()).toBe(5);
  });

  test('nodes, ranges and splits', async () => {
    expect((await cli.run(['nodes'])).stdout).toMatchSnapshot();
    expect((await cli.run(['split', 'city/g', 'city/n'])).stdout).toBe('2 ranges made\n');
    expect((await cli.run(['ranges'])).stdout).toMatchSnapshot();
    const lines = (await cli.run(['ranges', '--start', 'city/h', '-n', '1', '--json'])).stdout
      .trimEnd()
      .split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { start: 'city/g', end: 'city/n' },
    ]);
    expect((await cli.run(['nodes', '--json'])).stdout.trimEnd().split('\n').length).toBe(7);
  });

  test('engines are shown, with what they cannot tell left open', async () => {
    const result = await cli.run(['engines']);
    expect(result.code).toBe(1);
    expect(result.stdout).toMatchSnapshot();
    const [first] = (await cli.run(['engines', '--json'])).stdout.split('\n');
    expect(JSON.parse(first ?? '')).toMatchObject({ name: 'shard-1', engine: 'lsm', memtableBytes: 4096 });
  });

  test('a node tells what it knows, of its store or of one range', async () => {
    expect(await cli.run(['debug', 'shard-1'])).toMatchObject({ code: 0, stdout: 'store 1 range 0\n' });
    const [line = ''] = (await cli.run(['debug', '2', '--range', '7', '--json'])).stdout.split('\n');
    expect(JSON.parse(line)).toEqual({ storeId: 2, rangeId: 7, text: 'store 2 range 7' });
    expect(await cli.run(['debug', 'shard-1', '--range', 'x'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--range is a number from cairn ranges, not "x"'),
    });
    cli.router.cluster.debugMore = '\n\u001b[2Jé';
    expect((await cli.run(['debug', 'shard-1'])).stdout).toBe('store 1 range 0\n\\u{1b}[2Jé\n');
    expect((await cli.run(['debug', 'shard-9'])).stderr).toContain('there is no shard node "shard-9"');
  });

  test('a node compacts a span, one at a time, by name or store id', async () => {
    const { cluster } = cli.router;
    expect(await cli.run(['compact', 'shard-2', '--start', 'a', '--end', 'b'])).toMatchObject({
      code: 0,
      stdout: 'begun; cairn engines tells when it is done\n',
    });
    expect(await cli.run(['compact', '2'])).toMatchObject({
      code: 3,
      stderr: 'cairn: a compaction runs on this node already\n',
    });
    expect((await cli.run(['engines'])).stdout).toMatch(/shard-2 .*\| runs for 3 s/);
    const waiting = cli.run(['compact', '1', '--wait']);
    while (cluster.compacted.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    cluster.endCompaction(1, '');
    expect(await waiting).toMatchObject({ code: 0, stdout: 'done in 3 s\n' });
    expect(cluster.compacted).toEqual([
      [2, 'a', 'b'],
      [1, '', ''],
    ]);
    cluster.endCompaction(2, 'the engine is closed');
    expect((await cli.run(['engines'])).stdout).toMatch(/shard-2 .*\| not done: the engine is closed/);
    expect(await cli.run(['compact', 'router-1'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('there is no shard node "router-1"'),
    });
  });

  test('settings are listed and changed', async () => {
    expect((await cli.run(['settings'])).stdout).toMatchSnapshot();
    const changed = await cli.run(['settings', 'kv.key_bytes_max=100', '--json']);
    expect(JSON.parse(changed.stdout)).toMatchObject({ value: '100', isDefault: false });
    // A script with an empty variable must not change anything.
    const empty = await cli.run(['settings', 'kv.key_bytes_max=']);
    expect(empty.code).toBe(2);
    expect(empty.stderr).toContain('or --reset kv.key_bytes_max for its default');
    const reset = await cli.run(['settings', '--reset', 'kv.key_bytes_max', '--json']);
    expect(JSON.parse(reset.stdout)).toMatchObject({ name: 'kv.key_bytes_max', isDefault: true });
    const refused = await cli.run(['settings', 'nonsense=1']);
    expect(refused).toMatchObject({ code: 2, stderr: 'cairn: there is no setting nonsense\n' });
  });

  test('holds are listed, made at a time and removed, and what pins old versions is told', async () => {
    const { cluster } = cli.router;
    expect((await cli.run(['holds'])).stdout).toMatchSnapshot();
    expect(await cli.run(['holds', 'add', 'nightly', '--ttl', '1h', '--reason', 'backup'])).toMatchObject({
      code: 0,
      stdout: `nightly holds ${cluster.timestamp} for 1 h 0 min\n`,
    });
    const at = String(cluster.safePoint);
    const made = await cli.run(['holds', 'add', 'audit', '--at', at, '--ttl', '90s', '--json']);
    expect(JSON.parse(made.stdout)).toMatchObject({ name: 'audit', timestamp: cluster.safePoint });
    cluster.gcPinnedBy = 'hold "audit", 300 s back';
    expect((await cli.run(['holds'])).stdout).toMatchSnapshot();
    expect(JSON.parse((await cli.run(['holds', '--json'])).stdout)).toMatchObject({
      holds: [{ name: 'nightly', reason: 'backup' }, { name: 'audit' }],
      pinnedBy: 'hold "audit", 300 s back',
    });
    expect((await cli.run(['status'])).stdout).toMatch(
      /^history {3}5 min 0 s back, kept by hold "audit", 300 s back$/m,
    );
    expect(await cli.run(['holds', 'remove', 'audit'])).toMatchObject({ code: 0 });
    expect(await cli.run(['holds', 'remove', 'audit'])).toMatchObject({
      code: 1,
      stdout: 'there is no hold audit\n',
    });
    expect(JSON.parse((await cli.run(['holds', 'remove', 'audit', '--json'])).stdout)).toEqual({
      deleted: false,
    });
  });

  test('a hold is made as of some time ago', async () => {
    const newest = cli.router.store.timestamp;
    const heldAt = async (at: string): Promise<unknown> => {
      const made = await cli.run(['holds', 'add', 'ago', '--at', at, '--json']);
      return (JSON.parse(made.stdout) as { timestamp: unknown }).timestamp;
    };
    expect(await heldAt('-100ms')).toBe(newest - 100 * 4096);
    // Before the first timestamp there was, which is not "now".
    expect(await heldAt('-7d')).toBe(1);
  });

  test('status says when nothing is collected yet', async () => {
    cli.router.cluster.safePoint = 0;
    expect((await cli.run(['status'])).stdout).toMatch(/^history {3}all of it, nothing is collected yet$/m);
  });

  test('several settings are changed in one call, or none of them', async () => {
    const before = (await cli.run(['settings'])).stdout;
    const refused = await cli.run(['settings', 'kv.key_bytes_max=100', 'nonsense=1']);
    expect(refused).toMatchObject({ code: 2, stderr: 'cairn: there is no setting nonsense\n' });
    expect((await cli.run(['settings'])).stdout).toBe(before);
    const both = ['kv.key_bytes_max=100', 'kv.value_bytes_max=200'];
    const changed = (await cli.run(['settings', ...both, '--json'])).stdout.trimEnd().split('\n');
    expect(changed.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { value: '100' },
      { value: '200' },
    ]);
  });
});

describe('mistakes and trouble', () => {
  test('no cluster: what was tried and what to do', async () => {
    cli.router.kill();
    const result = await cli.run(['get', 'k']);
    expect(result.code).toBe(4);
    expect(result.stderr).toContain(`cannot reach a router at ${cli.router.endpoint}`);
    expect(result.stderr).toContain('npm start');
    expect(result.stderr).toContain('--endpoint host:port');
  });

  test('no time to reach the cluster: nobody says that it does not run', async () => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => sockets.push(socket));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const endpoint = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const result = await cli.run(['get', 'k', '--endpoint', endpoint, '--timeout', '50ms']);
    expect(result).toMatchObject({
      code: 4,
      stderr: `cairn: cannot reach a router at ${endpoint} in time\nWait longer: --timeout 10s\n`,
    });
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  test('outcome unknown is exit code 5', async () => {
    cli.router.verdict = () => new CairnError('OUTCOME_UNKNOWN', 'the window has passed');
    const result = await cli.run(['put', 'k', 'v']);
    expect(result.code).toBe(5);
    expect(result.stderr).toContain('Read the key before you decide');
  });

  test('no answer in time is exit code 4', async () => {
    cli.router.verdict = () => 'swallow';
    expect((await cli.run(['get', 'k', '--timeout', '80ms'])).code).toBe(4);
  });

  test('an interruption ends a waiting command at once', async () => {
    cli.router.verdict = () => {
      setImmediate(() => cli.abort.abort());
      return 'swallow';
    };
    expect((await cli.run(['get', 'k', '--timeout', '1h'])).code).toBe(130);
  });

  test.each([
    [['gett', 'k'], 'Did you mean get?'],
    [['get'], "missing required argument 'key'"],
    [['put', 'k'], 'which value?'],
    [['put', 'k', 'v', '--ttl', 'soon'], 'is not a duration'],
    [['put', 'k', 'v', '--ttl', '0s'], '--ttl must be above 0, not "0s"'],
    [['put', 'k', 'v', '--ttl', '-5s'], '--ttl must be above 0, not "-5s"'],
    [['put', 'k', 'v', '--ttl', 'soon'], 'a number alone is seconds'],
    [['expire', 'k', '0'], '<duration> must be above 0, not "0"'],
    [['get', 'k', '--timeout', '0'], '--timeout must be above 0, not "0"'],
    [['upgrade', 'foo'], 'See: cairn upgrade --help'],
    [['holds', 'foo'], 'See: cairn holds --help'],
    [['holds', 'add'], "missing required argument 'name'"],
    [['holds', 'add', 'x', '--at', '-soon'], '--at "soon" is not a duration'],
    [['holds', 'add', 'x', '--at', 'noon'], '--at "noon" is not a whole number'],
    [['holds', 'add', 'x', '--ttl', '0'], '--ttl must be above 0, not "0"'],
    [['upgrade', 'status', '--foo'], 'See: cairn upgrade status --help'],
    [['get'], 'See: cairn get --help'],
    [['gett'], 'See: cairn --help'],
    [['get', '--foo', 'k'], 'See: cairn get --help'],
    [['import', '-', '--window', '0'], '--window takes 1 to 65536, not 0'],
    [['import', '-', '--window', '100000000'], '--window takes 1 to 65536'],
    [['import', '-', '--ttl', 'soon'], 'is not a duration'],
    [['get', 'k', '--hex', '--base64'], 'choose one'],
    [['get', 'k', '--endpoint', 'http://x'], 'is not an endpoint'],
    [['get', 'k', '--endpoint', 'x:99999'], 'is not an endpoint'],
    [['del', '--all', '--endpoint', ''], '--endpoint is empty'],
    [['del', '--prefix', 'a', '--strict'], '--strict is for named keys'],
    [['help', 'nope'], "unknown command 'nope'"],
    [['settings', 'key.max_bytes'], 'key.max_bytes has no value; write key.max_bytes=VALUE'],
    [['scan', '--prefix', 'a', '--start', 'b'], 'cannot be combined'],
    [['get', ''], 'key must not be empty'],
    [['put', 'k'.repeat(5000), 'v'], 'the limit is 4096'],
  ])('a wrong call is exit code 2 and says why (%#)', async (argv, words) => {
    const result = await cli.run(argv);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(words);
  });

  test('the endpoint comes from the flag, the environment, the local cluster, in that order', async () => {
    const { endpoint } = cli.router;
    cli.env = { CAIRN_ENDPOINT: '127.0.0.1:1' };
    expect((await cli.run(['put', 'k', 'v', '--endpoint', endpoint])).code).toBe(0);
    expect((await cli.run(['get', 'k'])).code).toBe(4);
    cli.env = {};
    await mkdir(cli.path('.cairn'));
    await writeFile(cli.path('.cairn/endpoints.json'), JSON.stringify({ routers: [endpoint] }));
    expect((await cli.run(['get', 'k'])).stdout).toBe('v\n');
    await writeFile(cli.path('.cairn/endpoints.json'), 'rubbish');
    const result = await cli.run(['get', 'k']);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain('endpoints.json');
  });
});

describe('help', () => {
  const commands = [
    'put',
    'get',
    'del',
    'scan',
    'cas',
    'incr',
    'import',
    'export',
    'status',
    'nodes',
    'upgrade',
    'ranges',
    'split',
    'settings',
    'holds',
    'engines',
    'compact',
    'debug',
  ];

  test('names every command and every exit code', async () => {
    const result = await cli.run(['--help']);
    expect(result.code).toBe(0);
    expect(result.stdout).toMatchSnapshot();
    for (const command of commands) expect(result.stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
  });

  test.each(commands)('of %s has examples', async (command) => {
    const result = await cli.run([command, '--help']);
    expect(result.code).toBe(0);
    expect(result.stdout).toContain('Example');
    expect(result.stdout).toMatchSnapshot();
    expect(Math.max(...result.stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(125);
  });

  test('without a command the help is shown', async () => {
    const result = await cli.run([]);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain('Usage: cairn');
  });
});

describe('failures for programs', () => {
  const failureOf = (stderr: string): { code: string; exitCode: number } =>
    (JSON.parse(stderr) as { error: { code: string; exitCode: number } }).error;

  test('with --json every failure is one object on standard error', async () => {
    const unknownFlag = await cli.run(['get', 'a', '--json', '--nonsense']);
    expect(failureOf(unknownFlag.stderr)).toMatchObject({ code: 'USAGE', exitCode: 2 });
    const missing = await cli.run(['import', 'nowhere', '--json']);
    expect(failureOf(missing.stderr)).toMatchObject({ code: 'ENOENT', exitCode: 2 });
    cli.router.verdict = () => new CairnError('DISK_FULL', 'store 2 is full', { retryAfterMs: 3_600_000 });
    const refused = await cli.run(['put', 'a', '1', '--json', '--timeout', '300ms']);
    expect(failureOf(refused.stderr)).toMatchObject({ code: 'DISK_FULL', exitCode: 3 });
    expect(refused.code).toBe(3);
  });

  test('with --json a key that is not there is an object, too', async () => {
    const result = await cli.run(['get', 'nothere', '--json']);
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(JSON.parse(result.stderr)).toEqual({
      error: { code: 'NOT_FOUND', message: 'there is no key nothere', exitCode: 1 },
    });
  });

  test('with --json rejected rows and notes are objects, too', async () => {
    await writeFile(cli.path('in.ndjson'), 'rubbish\n{"key":"a","value":"1"}\n');
    const result = await cli.run(['import', 'in.ndjson', '--resume', '--json']);
    const told = result.stderr.trimEnd().split('\n');
    expect(told.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { note: 'nothing to resume; importing from the beginning' },
      { rejected: { line: 1 } },
    ]);
  });

  test('a file that cannot be used is named in a sentence', async () => {
    const { cwd } = cli;
    await writeFile(cli.path('in.ndjson'), '{"key":"a","value":"1"}\n');
    await mkdir(cli.path('folder'));
    const failures: [string[], string][] = [
      [['export', 'nope/x'], `there is no directory ${cwd}/nope`],
      [['export', 'in.ndjson/x'], `${cwd}/in.ndjson/x lies below something that is not a directory`],
      [['export', 'folder'], `${cwd}/folder is a directory`],
      [['import', 'nofile'], `there is no file ${cwd}/nofile`],
      [['import', 'folder'], `${cwd}/folder is a directory`],
      [['put', 'k', '--file', 'nope'], `there is no file ${cwd}/nope`],
      [['put', 'k', '--file', 'folder'], `${cwd}/folder is a directory`],
      [['import', 'in.ndjson', '--rejects', 'nope/x'], `there is no directory ${cwd}/nope`],
      [
        ['import', 'in.ndjson', '--resume-file', 'in.ndjson/x'],
        'lies below something that is not a directory',
      ],
    ];
    for (const [argv, sentence] of failures) {
      const result = await cli.run(argv);
      expect([argv, result]).toMatchObject([argv, { code: 2, stderr: expect.stringContaining(sentence) }]);
      expect(result.stderr).not.toContain('ENO');
    }
    expect(cli.router.operations.filter(({ operation }) => operation?.$case === 'put')).toEqual([]);
  });

  test('an output that takes nothing more is a failure with a sentence', async () => {
    cli.outputError = Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    const result = await cli.run(['ranges']);
    expect(result.code).toBe(6);
    expect(result.stderr).toBe('cairn: the output could not be written: no space left on device\n');
  });
});

describe('removing everything', () => {
  test('is refused where it may be an empty variable', async () => {
    await cli.run(['put', 'a', '1']);
    for (const argv of [
      ['--prefix', ''],
      ['--range', '', ''],
      ['--all', '--prefix', 'a'],
    ]) {
      expect(await cli.run(['del', ...argv])).toMatchObject({ code: 2, stdout: '' });
    }
    expect((await cli.run(['del', '--prefix', ''])).stderr).toContain('write: cairn del --all');
    expect(cli.router.store.size).toBe(1);
    expect((await cli.run(['del', '--all'])).stdout).toBe('1 key removed\n');
  });
});
