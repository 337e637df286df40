/**
 * Goal: a node that must not start says why in a sentence and ends with status 1, and one that may does.
 * Method: two clusters of one metadata member and one shard node; further nodes are started by hand, wrongly.
 */
import { crc32 } from '@cairn/codec';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { findFreePorts, type NodePlan } from '@cairn/local-cluster';
import { flipByte, logBlocks, type LogBlock } from '../src/log-files.js';
import { endPrograms, runProgram, type ProgramEnd } from '../src/programs.js';
import {
  removeTemporary,
  startTestCluster,
  temporaryDirectory,
  type TestCluster,
} from '../src/test-cluster.js';

const scratch = temporaryDirectory();
const clusters: TestCluster[] = [];

function clusterAt(index: number): TestCluster {
  const found = clusters[index];
  if (found === undefined) throw new Error('the clusters did not start');
  return found;
}

function planOf(name: string, index = 0): NodePlan {
  const found = clusterAt(index).cluster.nodes.find((node) => node.name === name);
  if (found === undefined) throw new Error(`no node ${name}`);
  return found;
}

function existing(block: LogBlock | undefined): LogBlock {
  if (block === undefined) throw new Error('the log has fewer blocks than that');
  return block;
}

interface ShardFlags {
  readonly name?: string;
  readonly listen?: string;
  readonly httpListen?: string;
  readonly dataDirectory?: string;
  /** Which cluster's metadata service it is sent to. */
  readonly cluster?: number;
}

function startShard(flags: ShardFlags): Promise<ProgramEnd> {
  return runProgram('shard', [
    ...['--name', flags.name ?? 'shard-9', '--listen', flags.listen ?? '127.0.0.1:0'],
    ...['--http-listen', flags.httpListen ?? '127.0.0.1:0'],
    ...['--data-directory', flags.dataDirectory ?? join(scratch, 'shard-9')],
    ...['--metadata-addresses', planOf('metadata-1', flags.cluster).address],
  ]);
}

/** What a later release may have written: its checksum is right. */
function inFormat(format: number, text: string): string {
  const { checksum, ...before } = JSON.parse(text) as Record<string, unknown>;
  expect(checksum).toMatch(/^[0-9a-f]{8}$/);
  const fields = { ...before, format };
  const sum = crc32(Buffer.from(JSON.stringify(fields)))
    .toString(16)
    .padStart(8, '0');
  return JSON.stringify({ ...fields, checksum: sum });
}

/** Asserts that a program refused to start, and returns the sentence it left with. */
function sentenceOf(end: ProgramEnd, program: string): string {
  expect({ code: end.code, signal: end.signal, stderr: end.stderr }).toEqual({
    code: 1,
    signal: null,
    stderr: expect.stringMatching(new RegExp(`^${program}: [^\\n]+\\n$`)),
  });
  return end.stderr.slice(program.length + 2, -1);
}

beforeAll(async () => {
  const shape = { metadata: 1, shards: 1, routers: 0 };
  clusters.push(await startTestCluster(shape));
  clusters.push(await startTestCluster(shape));
}, 90_000);

afterAll(async () => {
  await endPrograms();
  await Promise.all(clusters.map((each) => each.stop()));
  removeTemporary(scratch);
}, 60_000);

describe('a shard node', () => {
  it('is refused by a cluster that is not its own', async () => {
    const plan = planOf('shard-1', 1);
    await clusterAt(1).cluster.kill('shard-1', 'SIGTERM');
    const end = await startShard({ name: 'shard-1', dataDirectory: plan.dataDirectory, cluster: 0 });
    const idOf = (directory: string): string =>
      (JSON.parse(readFileSync(join(directory, 'node.json'), 'utf8')) as { clusterId: string }).clusterId;
    const sentence = sentenceOf(end, 'cairn-shard');
    expect(sentence).toContain(idOf(plan.dataDirectory));
    expect(sentence).toContain(idOf(planOf('shard-1').dataDirectory));
    await clusterAt(1).cluster.restart('shard-1');
  }, 60_000);

  it('is refused under the name of another node', async () => {
    const sentence = sentenceOf(await startShard({ name: 'shard-1' }), 'cairn-shard');
    expect(sentence).toMatch(
      /^The name shard-1 belongs to store \d+ at 127\.0\.0\.1:\d+, which has another data directory\./,
    );
  }, 60_000);

  it('is refused with the directory of a node of another name', async () => {
    const { dataDirectory } = planOf('shard-1', 1);
    await clusterAt(1).cluster.kill('shard-1', 'SIGTERM');
    const end = await startShard({ name: 'shard-7', dataDirectory, cluster: 1 });
    expect(sentenceOf(end, 'cairn-shard')).toContain(
      `data directory ${dataDirectory} belongs to node "shard-1", this node is "shard-7"`,
    );
    await clusterAt(1).cluster.restart('shard-1');
  }, 60_000);

  it('is refused a directory that another process uses', async () => {
    const { dataDirectory } = planOf('shard-1');
    const end = await startShard({ name: 'shard-1', dataDirectory });
    expect(sentenceOf(end, 'cairn-shard')).toContain(dataDirectory);
  }, 60_000);

  it('is refused a data directory of a newer format', async () => {
    const { dataDirectory } = planOf('shard-1', 1);
    const path = join(dataDirectory, 'node.json');
    await clusterAt(1).cluster.kill('shard-1', 'SIGTERM');
    const before = readFileSync(path, 'utf8');
    writeFileSync(path, inFormat(99, before));
    const end = await startShard({ name: 'shard-1', dataDirectory, cluster: 1 });
    writeFileSync(path, before);
    expect(sentenceOf(end, 'cairn-shard')).toMatch(
      new RegExp(
        `^data directory ${dataDirectory} has format 99, this release reads \\d+: a later release of Cairn wrote it$`,
      ),
    );
    await clusterAt(1).cluster.restart('shard-1');
  }, 60_000);

  it.each(['listen', 'httpListen'] as const)(
    'is refused a taken port for %s',
    async (field) => {
      const plan = planOf('shard-1');
      const taken = field === 'listen' ? plan.address : plan.httpAddress;
      const dataDirectory = join(scratch, `taken-${field}`);
      const end = await startShard({ [field]: taken, dataDirectory });
      expect(sentenceOf(end, 'cairn-shard')).toMatch(new RegExp(`${taken}.*(taken|in use)`));
    },
    60_000,
  );

  it('is told all that is wrong with its flags', async () => {
    const end = await runProgram('shard', ['--name', 'no spaces please', '--listen', 'nowhere']);
    expect(end.code).toBe(1);
    for (const field of ['name', 'listen', 'metadataAddresses', 'dataDirectory']) {
      expect(end.stderr).toMatch(new RegExp(`^(cairn-shard: )?${field} `, 'm'));
    }
  }, 60_000);
});

describe('a metadata member', () => {
  it('is refused a data directory of a newer format', async () => {
    const { dataDirectory, address } = planOf('metadata-1', 1);
    const path = join(dataDirectory, 'node.json');
    await clusterAt(1).cluster.kill('metadata-1', 'SIGTERM');
    const before = readFileSync(path, 'utf8');
    writeFileSync(path, inFormat(99, before));
    const end = await runProgram('metadata', [
      ...['--name', 'metadata-1', '--peers', `metadata-1=${address}`, '--listen', address],
      ...['--data-directory', dataDirectory],
    ]);
    writeFileSync(path, before);
    expect(sentenceOf(end, 'cairn-metadata')).toContain('has format 99, this release reads ');
    await clusterAt(1).cluster.restart('metadata-1');
  }, 60_000);

  it('is refused a taken port', async () => {
    const { address } = planOf('metadata-1');
    const [free] = await findFreePorts(1);
    const end = await runProgram('metadata', [
      ...['--name', 'm', '--peers', `m=127.0.0.1:${String(free)}`, '--listen', address],
      ...['--data-directory', join(scratch, 'm')],
    ]);
    expect(sentenceOf(end, 'cairn-metadata')).toMatch(new RegExp(`${address}.*(taken|in use)`));
  }, 60_000);
});

describe('a router', () => {
  const start = (name: string, listen: string): Promise<ProgramEnd> =>
    runProgram('router', [
      ...['--name', name, '--grpc-listen', listen, '--http-listen', '127.0.0.1:0'],
      ...['--metadata-addresses', planOf('metadata-1').address],
    ]);

  it('is refused a taken port', async () => {
    const { address } = planOf('metadata-1');
    const sentence = sentenceOf(await start('router-9', address), 'cairn-router');
    expect(sentence).toMatch(new RegExp(`${address}.*(taken|in use|using it)`));
  }, 60_000);

  it('is refused the name of a shard node', async () => {
    const [free] = await findFreePorts(1);
    const sentence = sentenceOf(await start('shard-1', `127.0.0.1:${String(free)}`), 'cairn-router');
    expect(sentence).toContain('A shard node has the name shard-1');
  }, 60_000);
});

describe.each([
  ['shard', 'shard-1'],
  ['metadata', 'metadata-1'],
] as const)('the raft log of a %s process', (kind, name) => {
  const start = (): Promise<ProgramEnd> => {
    const { dataDirectory, address } = planOf(name, 1);
    if (kind === 'shard') return startShard({ name, dataDirectory, cluster: 1 });
    return runProgram('metadata', [
      ...['--name', name, '--peers', `${name}=${address}`, '--listen', address],
      ...['--data-directory', dataDirectory],
    ]);
  };

  it('with a damaged record in the middle is named by file and offset, and nothing is guessed', async () => {
    const { dataDirectory } = planOf(name, 1);
    await clusterAt(1).cluster.kill(name);
    const blocks = logBlocks(dataDirectory);
    expect(blocks.length).toBeGreaterThan(2);
    const victim = existing(blocks[1]);
    flipByte(victim);
    const end = await start();
    const sentence = sentenceOf(end, `cairn-${kind}`);
    expect(sentence).toContain(victim.path);
    expect(sentence).toMatch(new RegExp(`\\b${victim.offset}\\b`));
    flipByte(victim);
    await clusterAt(1).cluster.restart(name);
  }, 60_000);

  it('with a torn tail is taken as it is', async () => {
    const { dataDirectory } = planOf(name, 1);
    await clusterAt(1).cluster.kill(name);
    flipByte(existing(logBlocks(dataDirectory).at(-1)));
    await clusterAt(1).cluster.restart(name);
  }, 60_000);
});
