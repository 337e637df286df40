import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { shardConfig } from '@cairn/config';
import { noopLogger, noopTracer, type Transport } from '@cairn/ports';
import { createMetrics } from '@cairn/observability';
import { NodeClock, NodeDisk, NodeRng } from '@cairn/runtime-node';

import { shardProcess } from './shard-process.js';

describe('a shard process', () => {
  let directory = '';
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'cairn-shard-'));
  });
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  it.each([
    ['cannot be loaded', undefined, /none\.mjs" cannot be loaded: /],
    ['exports no engine', 'export const nothing = 1;\n', /it exports no engineFactory/],
  ])('speaks to nobody and leaves no identity when its engine module %s', async (_, text, refusal) => {
    const dataDirectory = join(directory, 'data');
    const engine = join(directory, 'none.mjs');
    if (text !== undefined) writeFileSync(engine, text);
    const spoken: string[] = [];
    const speak = (what: string): never => {
      spoken.push(what);
      throw new Error(`no ${what} in this test`);
    };
    const transport: Transport = { connect: () => speak('connection'), listen: () => speak('listener') };
    const config = shardConfig.schema.parse({
      ...{ name: 'shard-4', metadataAddresses: ['127.0.0.1:1'], dataDirectory, engine },
    });
    const context = {
      ...{ config, logger: noopLogger, metrics: createMetrics({ processMetrics: false }) },
      ...{ tracer: noopTracer, publicAddress: '127.0.0.1:2' },
      onWaiting: () => undefined,
      onAbandoned: () => undefined,
      onFatal: (error: Error) => {
        throw error;
      },
      endWith: (error: Error) => {
        throw error;
      },
    };
    const ports = { clock: new NodeClock(), rng: new NodeRng(), disk: new NodeDisk(), transport };
    await expect(shardProcess.open(context, ports)).rejects.toThrow(refusal);
    expect(spoken).toEqual([]);
    expect(readdirSync(dataDirectory)).not.toContain('node.json');
    expect(readdirSync(dataDirectory)).not.toContain('engine-kind');
  });
});
