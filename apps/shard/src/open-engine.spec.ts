import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { shardConfig } from '@cairn/config';
import { openForeignEngine, type KvEngine } from '@cairn/engine';
import { describeKvEngine } from '@cairn/engine/testing';
import { VERSIONED_KEYS } from '@cairn/mvcc';
import { noopLogger, noopMetrics, type Logger } from '@cairn/ports';
import { NodeClock, NodeDisk, NodeRng } from '@cairn/runtime-node';

import { loadEngineFactory } from './engine-module.js';
import { engineFactory } from './foreign-engine.testing.js';
import { prepareEngine } from './open-engine.js';

const MODULE = new URL('./foreign-engine.testing.ts', import.meta.url).href;
const root = mkdtempSync(join(tmpdir(), 'cairn-engines-'));
const ports = { clock: new NodeClock(), disk: new NodeDisk(), rng: new NodeRng() };

let dataDirectory = '';
beforeEach(() => {
  dataDirectory = mkdtempSync(join(root, 'data-'));
});
afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

async function open(engine: string, logger = noopLogger): Promise<KvEngine> {
  const config = shardConfig.schema.parse({
    ...{ name: 'shard-1', metadataAddresses: ['127.0.0.1:1'], dataDirectory, engine },
  });
  const prepared = await prepareEngine({ config, logger, metrics: noopMetrics }, ports);
  return prepared.openEngine();
}

describeKvEngine('an engine from elsewhere', {
  open: async () =>
    openForeignEngine(await loadEngineFactory(MODULE), MODULE, {
      ...{ ...ports, path: join(root, 'engine'), logger: noopLogger, metrics: noopMetrics },
      ...{ versioned: VERSIONED_KEYS, blockCacheBytes: 1 << 20, writeBufferBytes: 1 << 20 },
    }),
  reopen: 'keeps nothing',
});

describe('the engine of a node', () => {
  const opened: KvEngine[] = [];
  afterEach(async () => {
    for (const engine of opened.splice(0)) await engine.close();
  });
  const openNamed = async (name: string): Promise<string> => {
    const engine = await open(name);
    opened.push(engine);
    return (await engine.stats()).engine;
  };

  it.each([
    ['lsm', 'lsm'],
    ['classic-level', 'classic-level'],
    ['memory', 'memory'],
    [MODULE, engineFactory.name],
  ])('is the one that the setting names: %s', async (setting, name) => {
    expect(await openNamed(setting)).toBe(name);
    expect(readFileSync(join(dataDirectory, 'engine-kind'), 'utf8')).toBe(`${name}\n`);
  });

  it.each([
    ['lsm', 'lsm'],
    ['classic-level', 'classic-level'],
    [MODULE, engineFactory.name],
  ])('is named in the log when it is opened: %s', async (setting, name) => {
    const named: unknown[] = [];
    const info: Logger['info'] = (event, fields) => {
      if (event === 'engine opened') named.push(fields?.['engine']);
    };
    opened.push(await open(setting, { ...noopLogger, info }));
    expect(named).toEqual([name]);
  });

  it('refuses a directory that another engine has written', async () => {
    await openNamed('classic-level');
    for (const setting of ['lsm', MODULE]) {
      await expect(open(setting)).rejects.toMatchObject({
        code: 'FAILED_PRECONDITION',
        message: expect.stringContaining('was made with the engine "classic-level"'),
      });
    }
  });

  it('is told what is wrong with a module', async () => {
    await expect(open(join(dataDirectory, 'none.mjs'))).rejects.toThrow(/none\.mjs" cannot be loaded: /);
    await expect(open('package:cairn-no-such-engine')).rejects.toThrow(
      /cannot be loaded: .*cairn-no-such-engine/,
    );
    for (const none of ['/dev/null', dataDirectory, new URL(`file://${dataDirectory}`).href]) {
      await expect(open(none)).rejects.toThrow(`"${none}" cannot be loaded: it is no regular file`);
    }
    const path = join(dataDirectory, 'empty.mjs');
    writeFileSync(path, 'export const nothing = 1;\n');
    await expect(open(path)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('it exports no engineFactory'),
    });
  });
});
