import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { Campaign } from './campaign.js';
import { shardRoles } from './cairn-system.js';
import { Children } from './children.js';
import { FailoverCampaign, type FailoverSpec } from './failover-campaign.js';
import type { FailoverResult } from './failover.js';
import { FastRandom, freshen, keyAt, makeKeys, makeValue } from './data-set.js';
import { compareVersions, findEtcd, isOldEtcd, parseEtcdVersion } from './etcd-binary.js';
import { kvloadMix, parseKvloadReport } from './kvload.js';
import { busyUsOfStat, cpuBetween, cpuUsOfStat } from './process-stats.js';
import { cpuPerOperation, type BenchSystem, type RunSpec, type Sample } from './system.js';
import { columns, showFailovers } from './tables.js';
import type { WorkName } from './works.js';

const directories: string[] = [];

afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

function makeDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'cairn-bench-test-'));
  directories.push(directory);
  return directory;
}

describe('the data set', () => {
  test('has keys of 16 bytes, in order', () => {
    const made = makeKeys(200);
    const keys = Array.from({ length: made.length }, (_, at) => made.at(at));
    expect(new Set(keys.map((key) => key.length))).toEqual(new Set([16]));
    expect(keys.map(String)).toEqual(keys.map(String).sort());
    expect(String(keyAt(42))).toBe('k000000000000042');
  });

  test('has the same keys in less memory when there are very many', () => {
    const keys = makeKeys(1_000_001);
    expect([keys.length, String(keys.at(0)), String(keys.at(1_000_000))]).toEqual([
      1_000_001,
      'k000000000000000',
      'k000000001000000',
    ]);
    expect(() => keys.at(1_000_001)).toThrow('data set');
  });

  test('is drawn from by random numbers that repeat with their seed', () => {
    const draw = (seed: number): number[] => {
      const random = new FastRandom(seed);
      return Array.from({ length: 20 }, () => random.below(1_000));
    };
    expect(draw(3)).toEqual(draw(3));
    expect(draw(3)).not.toEqual(draw(4));
    // The seed whose spread is 0 must not stand still.
    expect(new Set(draw(-1)).size).toBeGreaterThan(10);
  });

  test('is drawn from evenly', () => {
    const random = new FastRandom(1);
    const counts = new Array<number>(10).fill(0);
    for (let draw = 0; draw < 10_000; draw += 1) {
      const at = random.below(10);
      counts[at] = (counts[at] ?? 0) + 1;
    }
    expect(Math.min(...counts)).toBeGreaterThan(850);
    expect(Math.max(...counts)).toBeLessThan(1_150);
  });

  test('has values of which 16 bytes are new each time', () => {
    const random = new FastRandom(1);
    const value = makeValue(256);
    const before = Buffer.from(value);
    freshen(value, random);
    expect(value.subarray(0, 16).equals(before.subarray(0, 16))).toBe(false);
    expect(value.subarray(16).equals(before.subarray(16))).toBe(true);
  });
});

describe('CPU time', () => {
  test('is read behind the name of the process, which may hold anything', () => {
    const fields = Array.from({ length: 49 }, (_, at) => String(at + 4));
    expect(cpuUsOfStat(`77 (a ) b (c) S ${fields.join(' ')}`)).toBe((14 + 15) * 10_000);
  });

  test('of the machine leaves idle and waiting out', () => {
    expect(busyUsOfStat('cpu  1 2 3 1000 2000 4 5 6 7 8\ncpu0 1 2 3\n')).toBe(
      (1 + 2 + 3 + 4 + 5 + 6) * 10_000,
    );
  });

  test('between two snapshots is shared out among client, processes and others', () => {
    const use = cpuBetween(
      {
        atMs: 0,
        ownUs: 100,
        machineUs: 0,
        processesUs: new Map([
          [1, 10],
          [2, 20],
        ]),
      },
      { atMs: 1_000, ownUs: 200_100, machineUs: 1_000_000, processesUs: new Map([[1, 300_010]]) },
    );
    expect(use).toEqual({ clientUs: 200_000, processesUs: { '1': 300_000 }, otherCores: 0.5 });
  });

  test('per operation is the mean of a role, and a total', () => {
    const cpu = { clientUs: 100, processesUs: { '1': 200, '2': 300, '3': 500, '4': 7 }, otherCores: 0 };
    const roles = new Map([
      [1, 'leader'],
      [2, 'follower'],
      [3, 'follower'],
    ]);
    expect(cpuPerOperation({ cpu, operations: 10 }, roles)).toEqual({
      client: 10,
      leader: 20,
      follower: 40,
      total: 110.7,
    });
    expect(cpuPerOperation({ cpu, operations: 0 }, roles)).toEqual({});
  });

  test('is told apart for leader and follower only where one node leads all ranges', () => {
    const names = ['shard-1', 'shard-2'];
    expect(Object.fromEntries(shardRoles(names, new Set(['shard-2'])))).toEqual({
      'shard-1': 'follower',
      'shard-2': 'leader',
    });
    for (const leaders of [new Set<string>(), new Set(names), new Set(['elsewhere'])]) {
      expect([...shardRoles(names, leaders).values()]).toEqual(['shard', 'shard']);
    }
  });
});

describe('the native generator', () => {
  const report = {
    ...{ label: '', ops_per_s: 1_000, errors: 1, misses: 2, p50_ms: 1, p99_ms: 2, p999_ms: 3 },
    ...{ client_cpu_cores: 0.125, server_cpu_cores: 0.875, machine_cpu_cores: 1.25 },
  };

  test('reports rates, latencies and cores', () => {
    expect(parseKvloadReport(`noise\n${JSON.stringify(report)}\n`, 7)).toMatchObject({
      ...{ opsPerSecond: 1_000, p50Ms: 1, p99Ms: 2, p999Ms: 3, errors: 1, misses: 2, otherCores: 0.25 },
      cpuUsPerOp: { client: 125, member: 125, total: 1_000 },
    });
  });

  test('is not believed when the report is another', () => {
    expect(() => parseKvloadReport('', 3)).toThrow('JSON');
    expect(() => parseKvloadReport('null', 3)).toThrow('object');
    expect(() => parseKvloadReport('{"ops_per_s":"many"}', 3)).toThrow('ops_per_s');
  });

  test('knows every work but the scan', () => {
    expect(kvloadMix('unary')).toBe(kvloadMix('put'));
    expect(kvloadMix('mix')).toBe('get=90,put=10');
    expect(kvloadMix('scan')).toBeUndefined();
  });
});

describe('the search for etcd', () => {
  function fakeEtcd(version: string): string {
    const directory = makeDirectory();
    writeFileSync(join(directory, 'etcd'), `#!/bin/sh\necho "etcd Version: ${version}"\n`, { mode: 0o755 });
    return directory;
  }

  test('takes the newest on the path', () => {
    const old = fakeEtcd('3.4.23');
    const recent = fakeEtcd('3.10.1');
    expect(findEtcd('', ['', '/does/not/exist', old, recent].join(':'))).toEqual({
      path: join(recent, 'etcd'),
      version: '3.10.1',
    });
  });

  test('takes the named one', () => {
    const path = join(fakeEtcd('3.4.23'), 'etcd');
    expect(findEtcd(path, '')).toEqual({ path, version: '3.4.23' });
  });

  test('says how to get one', () => {
    expect(() => findEtcd('', makeDirectory())).toThrow(/no etcd on the PATH.*Install etcd 3\.5.*--etcd/);
    expect(() => findEtcd(process.execPath, '')).toThrow(/is not an etcd that can be run.*Install/);
  });

  test('compares versions by number', () => {
    expect(compareVersions('3.10.0', '3.9.9')).toBeGreaterThan(0);
    expect(compareVersions('3.5.0', '3.5.0-rc.1')).toBe(0);
    expect([isOldEtcd('3.4.23'), isOldEtcd('3.5.0'), isOldEtcd('4.0.0')]).toEqual([true, false, false]);
    expect(parseEtcdVersion('etcd Version: 3.5.16\nGit SHA: x\n')).toBe('3.5.16');
    expect(parseEtcdVersion('v24.0.0')).toBeUndefined();
  });
});

describe('a campaign', () => {
  class FakeSystem implements BenchSystem {
    readonly name: string;
    readonly version = '1';
    readonly #log: string[];
    failsAt = Number.POSITIVE_INFINITY;
    gapsMs: number[] = [];

    constructor(name: string, log: string[]) {
      this.name = name;
      this.#log = log;
    }

    driverOf(): string {
      return 'test';
    }

    async preload(): Promise<void> {
      this.#log.push(`${this.name} preload`);
    }

    canRun(work: WorkName): boolean {
      return this.name === 'a' || work !== 'counter';
    }

    async run(spec: RunSpec): Promise<Sample> {
      if (this.#log.length >= this.failsAt) throw new Error('broken');
      this.#log.push(`${this.name} ${spec.work} ${spec.outstanding} ${spec.seed}`);
      return {
        ...{ opsPerSecond: 1, p50Ms: 1, p99Ms: 1, p999Ms: 1, errors: 0, firstError: '', misses: 0 },
        ...{ cpuUsPerOp: {}, otherCores: undefined },
      };
    }

    async failover(spec: FailoverSpec): Promise<FailoverResult> {
      this.#log.push(`${this.name} failover ${spec.writers} ${spec.timeoutMs}`);
      return { gapMs: this.gapsMs.shift() ?? 1, failures: 2, firstFailure: 'late' };
    }

    residentBytes(): Record<string, number> {
      return {};
    }

    async stop(): Promise<void> {
      this.#log.push(`${this.name} stop`);
    }
  }

  const CELLS = [
    { work: 'put', outstanding: 1 },
    { work: 'get', outstanding: 2 },
  ] as const;
  const TIMES = {
    ...{ repetitions: 2, warmupMs: 0, durationMs: 1, onRun: () => undefined },
    signal: new AbortController().signal,
  };

  test('takes turns between the systems, with the same seed, and between the cells', async () => {
    const log: string[] = [];
    const [ours, peer] = [new FakeSystem('a', log), new FakeSystem('b', log)];
    const campaign = new Campaign({ ours, peer, cells: CELLS, ...TIMES });
    await campaign.run();
    expect(log).toEqual([
      ...['a put 1 0', 'b put 1 0', 'a get 2 0', 'b get 2 0'],
      ...['a put 1 1', 'b put 1 1', 'a get 2 1', 'b get 2 1'],
    ]);
    expect(campaign.results().map((line) => [line.work, line.ours.runs, line.peer?.runs])).toEqual([
      ['put', 2, 2],
      ['get', 2, 2],
    ]);
  });

  test('asks no peer for what it has no operation for, and compares with other works', async () => {
    const log: string[] = [];
    const [ours, peer] = [new FakeSystem('a', log), new FakeSystem('b', log)];
    const cells = [...CELLS.slice(0, 1), { work: 'counter', outstanding: 1 }] as const;
    const campaign = new Campaign({ ours, peer, cells, ...TIMES });
    await campaign.run();
    expect(log.filter((line) => line.includes('counter'))).toEqual(['a counter 1 0', 'a counter 1 1']);
    const [put, counter] = campaign.results();
    expect([put?.versus, counter?.peer]).toEqual([undefined, undefined]);
    expect(counter?.versus).toMatchObject([{ work: 'put', throughputRatio: 1, p99Ratio: 1 }]);
  });

  test('kills leaders in turn, and reports the median gap and the ratios of pairs', async () => {
    const log: string[] = [];
    const [ours, peer] = [new FakeSystem('a', log), new FakeSystem('b', log)];
    ours.gapsMs = [100, 300, 200];
    peer.gapsMs = [400, 400, 800];
    const { onRun, signal } = TIMES;
    const campaign = new FailoverCampaign({ ours, peer, onRun, signal, repetitions: 3, warmupMs: 0 });
    expect(campaign.result()).toBeUndefined();
    await campaign.run();
    expect(log).toEqual([1, 2, 3].flatMap(() => ['a failover 4 100', 'b failover 4 100']));
    const line = campaign.result();
    expect(line).toMatchObject({
      ours: { gapMs: 200, spreadMs: [100, 300], runs: 3, failures: 6 },
      peer: { gapMs: 400, spreadMs: [400, 800] },
      gapRatio: 0.5,
      ratioSpread: [0.25, 0.75],
    });
    expect(showFailovers(line === undefined ? [] : [line])).toMatch(/failover a +200 +100\.\.300 +6 +0\.50/);
  });

  test('begins no further run when it is stopped', async () => {
    const log: string[] = [];
    const aborter = new AbortController();
    const onRun = (): void => aborter.abort();
    const ours = new FakeSystem('a', log);
    const campaign = new Campaign({
      ...TIMES,
      ...{ ours, peer: undefined, cells: CELLS, onRun, signal: aborter.signal },
    });
    await expect(campaign.run()).rejects.toThrow();
    expect(log).toEqual(['a put 1 0']);
    expect(campaign.results()).toHaveLength(1);
  });

  test('keeps what it measured when a run fails', async () => {
    const ours = new FakeSystem('a', []);
    ours.failsAt = 1;
    const campaign = new Campaign({ ours, peer: undefined, cells: CELLS, ...TIMES });
    await expect(campaign.run()).rejects.toThrow('broken');
    expect(campaign.results().map((line) => line.work)).toEqual(['put']);
  });
});

describe('processes', () => {
  test('are ended by id, those that do not listen as well', async () => {
    const children = new Children();
    const stubborn = "process.on('SIGTERM', () => {}); console.log('up'); setInterval(() => {}, 1000)";
    const child = children.start(process.execPath, ['-e', stubborn], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    children.killAll();
    await children.stop();
    expect(child.signalCode).toBe('SIGKILL');
  });

  test('that cannot be started do not keep anybody waiting', async () => {
    const children = new Children();
    const child = children.start('/does/not/exist', [], { stdio: 'ignore' });
    const error = await new Promise<Error>((resolve) => child.once('error', resolve));
    expect(error.message).toContain('ENOENT');
    await children.stop([child]);
  });
});

test('columns are aligned: the first to the left, the others to the right', () => {
  expect(
    columns([
      ['a', 'bb', 'c'],
      ['aaa', 'b', ''],
    ]),
  ).toEqual(['a    bb  c', 'aaa   b']);
});
