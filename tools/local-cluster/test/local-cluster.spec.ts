import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  startLocalCluster,
  type ClusterEvent,
  type LocalCluster,
  type LocalClusterOptions,
} from '@cairn/local-cluster';

const STAND_IN = fileURLToPath(new URL('./stand-in-node.mjs', import.meta.url));
/** Processes take their time to start on a busy machine. */
jest.setTimeout(60_000);

const PROGRAMS = { metadata: STAND_IN, shard: STAND_IN, router: STAND_IN };

let directory = '';
let cluster: LocalCluster | undefined;
let events: ClusterEvent[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cairn-cluster-'));
  events = [];
});
afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
  rmSync(directory, { recursive: true });
});

async function start(options: Partial<LocalClusterOptions> = {}): Promise<LocalCluster> {
  cluster = await startLocalCluster({
    dataDirectory: directory,
    metadata: 1,
    shards: 2,
    programs: PROGRAMS,
    onEvent: (event) => events.push(event),
    ...options,
  });
  return cluster;
}

function died(): Extract<ClusterEvent, { kind: 'died' }>[] {
  return events.filter((event): event is Extract<ClusterEvent, { kind: 'died' }> => event.kind === 'died');
}

async function eventually(isTrue: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + 30_000;
  while (!isTrue()) {
    if (performance.now() > deadlineMs) throw new Error(`never came true: ${isTrue.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Makes a node misbehave, in a directory that an earlier start has made. */
function putFile(node: string, name: string, text = ''): void {
  writeClusterFile({ layoutVersion: 1, metadata: 1, shards: 2 });
  mkdirSync(join(directory, node), { recursive: true });
  writeFileSync(join(directory, node, name), text);
}

/** As an earlier start would have left it. */
function writeClusterFile(content: unknown): void {
  writeFileSync(join(directory, 'cluster.json'), JSON.stringify(content));
}

describe('startLocalCluster', () => {
  it('runs every process with its flags, says where, and stops them all', async () => {
    const running = await start();
    expect(running.nodes.map((node) => node.name)).toEqual(['metadata-1', 'shard-1', 'shard-2', 'router-1']);
    const [metadata = ''] = running.endpoints.metadata;
    const log = readFileSync(join(directory, 'logs/shard-2.log'), 'utf8');
    expect(log).toContain(`--metadata-addresses ${metadata} --data-directory ${join(directory, 'shard-2')}`);
    expect(readFileSync(join(directory, 'logs/metadata-1.log'), 'utf8')).toContain(
      `--peers metadata-1=${metadata} --data-directory ${join(directory, 'metadata-1')} --expected-stores 2`,
    );
    expect(JSON.parse(readFileSync(join(directory, 'endpoints.json'), 'utf8'))).toEqual(running.endpoints);
    expect(events.at(-1)?.kind).toBe('ready');
    await running.stop();
    for (const { name } of running.nodes) expect(running.processId(name)).toBeUndefined();
    expect(died()).toEqual([]);
  });

  it('starts nodes where they are placed, and tells others how to reach them', async () => {
    const elsewhere = join(directory, 'elsewhere');
    const asked: [string, string][] = [];
    const running = await start({
      place: (name, address) => {
        asked.push([name, address]);
        if (name === 'metadata-1') return { advertised: '127.0.0.1:9' };
        return name === 'shard-1' ? { launcher: ['/usr/bin/env'], dataDirectory: elsewhere } : {};
      },
    });
    expect(asked).toEqual(running.nodes.map(({ name, address }) => [name, address]));
    expect(running.endpoints.metadata).toEqual(['127.0.0.1:9']);
    const logOf = (name: string): string => readFileSync(join(directory, `logs/${name}.log`), 'utf8');
    expect(logOf('metadata-1')).toMatch(/--advertise 127\.0\.0\.1:9 --listen 127\.0\.0\.1:\d{5}/);
    expect(logOf('metadata-1')).toContain('--peers metadata-1=127.0.0.1:9');
    expect(logOf('shard-1')).toContain(`--metadata-addresses 127.0.0.1:9 --data-directory ${elsewhere}`);
    expect(logOf('shard-2')).not.toContain('--advertise');
    await running.kill('shard-1', 'SIGTERM');
    expect(running.processId('shard-1')).toBeUndefined();
  });

  it('finds its data again, also with more shard nodes', async () => {
    await (await start()).stop();
    await (await start({ shards: 3 })).stop();
    await expect(start({ shards: 2 })).rejects.toThrow(
      `The data in ${directory} lives on 3 shard nodes; with 2 some of it would be missing. Start with --shards 3 or ` +
        'more, or choose another directory with --data-dir.',
    );
    await expect(start({ shards: 3, metadata: 3 })).rejects.toThrow('Start with --metadata 1');
  });

  it('kills, restarts and pauses single nodes without taking it for an accident', async () => {
    const running = await start({ restart: true });
    const before = running.processId('shard-1');
    await running.kill('shard-1');
    expect(running.processId('shard-1')).toBeUndefined();
    await running.restart('shard-1');
    expect(running.processId('shard-1')).not.toBe(before);
    await running.kill('shard-2', 'SIGSTOP');
    expect(running.processId('shard-2')).toBeDefined();
    expect(died()).toEqual([]);
    await expect(running.kill('shard-9')).rejects.toThrow(
      'there is no node shard-9; there are metadata-1, shard-1',
    );
  });

  it('reports a process that dies with the end of its log, and starts it again', async () => {
    const running = await start({ restart: true });
    const processId = running.processId('shard-1') ?? 0;
    process.kill(processId, 'SIGKILL');
    await eventually(() => died().length === 1);
    expect(died()[0]).toMatchObject({
      name: 'shard-1',
      end: { code: null, signal: 'SIGKILL' },
      restartInMs: 500,
    });
    expect(died()[0]?.lastLines.join()).toContain('"name":"shard-1"');
    await eventually(() => running.processId('shard-1') !== undefined);
    expect(running.processId('shard-1')).not.toBe(processId);
    await running.waitReady();
  });

  it('leaves a dead process away when told so', async () => {
    const running = await start();
    process.kill(running.processId('router-1') ?? 0, 'SIGKILL');
    await eventually(() => died().length === 1);
    expect(died()[0]?.restartInMs).toBeUndefined();
    expect(running.processId('router-1')).toBeUndefined();
  });

  it('gives up with the reason when a process ends during the start, and leaves nothing running', async () => {
    putFile('shard-2', 'exit-with', '3');
    await expect(start()).rejects.toThrow(
      /shard-2 ended with exit code 3 while the cluster started\. .*\n.*\nthe data directory is of a newer format/,
    );
    const left = JSON.parse(readFileSync(join(directory, 'processes.json'), 'utf8')) as { nodes: object };
    expect(left.nodes).toEqual({});
  });

  it('gives up when a process does not become ready', async () => {
    putFile('shard-1', 'not-ready', 'no metadata leader');
    // Others may be slow to start on a busy machine, and are then named, too.
    await expect(start({ readyTimeoutMs: 300 })).rejects.toThrow(
      /these are not ready: .*shard-1 \((no metadata leader|starting)\).* Their logs are in .*\/logs\.$/,
    );
  });

  it('stops while it still waits', async () => {
    putFile('shard-1', 'not-ready', 'no metadata leader');
    const stop = Promise.withResolvers<void>();
    const starting = start({ stopRequested: stop.promise });
    await eventually(() => events.some((event) => event.kind === 'waiting'));
    stop.resolve();
    await expect(starting).rejects.toThrow('Stopped before everything was up.');
  });

  it('kills what does not stop in time', async () => {
    putFile('shard-1', 'stubborn');
    const running = await start({ stopTimeoutMs: 1_000 });
    await running.stop();
    expect(events.filter((event) => event.kind === 'killed-hard')).toEqual([
      { kind: 'killed-hard', name: 'shard-1' },
    ]);
    expect(running.processId('shard-1')).toBeUndefined();
  });
});

describe('refusals', () => {
  it('names the taken port, who wants it and the flag', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await expect(start({ basePort: port })).rejects.toThrow(
      `The port ${port} (router-1) is taken, probably by another local cluster or another server. Stop it, or choose ` +
        `other ports, for example with --base-port ${port + 1_000}.`,
    );
    await new Promise((resolve) => server.close(resolve));
  });

  it('refuses a second start on the same data', async () => {
    const first = await start();
    const recorded = JSON.parse(readFileSync(join(directory, 'processes.json'), 'utf8')) as { nodes: object };
    expect(Object.keys(recorded.nodes)).toHaveLength(4);
    await expect(
      startLocalCluster({ dataDirectory: directory, metadata: 1, shards: 2, programs: PROGRAMS }),
    ).rejects.toThrow(`Processes of an earlier start on ${directory} still run. Stop them with: kill `);
    await first.stop();
  });

  it('refuses a directory of something else', async () => {
    writeFileSync(join(directory, 'thesis.txt'), 'important');
    await expect(start()).rejects.toThrow(
      `The directory ${directory} holds files (thesis.txt, for one) but no Cairn cluster. Choose an empty or new ` +
        'directory with --data-dir.',
    );
    expect(existsSync(join(directory, 'cluster.json'))).toBe(false);
  });

  it('refuses a newer layout, a damaged file and one that means nothing', async () => {
    writeClusterFile({ layoutVersion: 2, metadata: 1, shards: 2 });
    await expect(start()).rejects.toThrow(
      'was written by a newer version of Cairn (layout 2; this one knows up to 1)',
    );
    writeFileSync(join(directory, 'cluster.json'), '{');
    await expect(start()).rejects.toThrow(`${join(directory, 'cluster.json')} cannot be read`);
    writeClusterFile({ name: 'other' });
    await expect(start()).rejects.toThrow('is not from a Cairn cluster');
  });

  it('says what to do when the programs are not built', async () => {
    await expect(start({ programs: { ...PROGRAMS, shard: '/nowhere/main.js' } })).rejects.toThrow(
      '/nowhere/main.js does not exist. Build first, with: npm run build',
    );
  });
});
