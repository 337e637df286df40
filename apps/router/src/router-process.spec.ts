import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { routerConfig } from '@cairn/config';
import { createMetrics } from '@cairn/observability';
import { noopLogger, noopTracer, type Transport } from '@cairn/ports';
import type { RunningPart } from '@cairn/process-shell';
import { NodeClock, NodeDisk, NodeRng, TcpTransport } from '@cairn/runtime-node';

import { routerProcess } from './router-process.js';

function open(grpcListen: string, dialled: string[] = []): Promise<RunningPart> {
  const config = routerConfig.schema.parse({
    ...{ name: 'router-1', metadataAddresses: ['127.0.0.1:1'], grpcListen, shutdownTimeoutMs: 0 },
  });
  const fail = (error: Error): never => {
    throw error;
  };
  const context = {
    ...{ config, logger: noopLogger, metrics: createMetrics({ processMetrics: false }) },
    ...{ tracer: noopTracer, publicAddress: '127.0.0.1:2' },
    ...{ onWaiting: () => undefined, onAbandoned: () => undefined, onFatal: fail, endWith: fail },
  };
  const tcp = new TcpTransport();
  const transport: Transport = {
    listen: (...given) => tcp.listen(...given),
    connect: (address) => {
      dialled.push(address);
      return tcp.connect(address);
    },
  };
  return routerProcess.open(context, {
    ...{ clock: new NodeClock(), rng: new NodeRng(), disk: new NodeDisk(), transport },
  });
}

describe('a router process', () => {
  it('tells the port that was picked where none was named', async () => {
    const dialled: string[] = [];
    const part = await open('127.0.0.1:0', dialled);
    expect(dialled).toEqual(['127.0.0.1:1']);
    expect(part.listens).toEqual({ grpc: expect.stringMatching(/^127\.0\.0\.1:[1-9]\d*$/) });
    await part.close();
  });

  it('does not begin to join when its port is taken', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as AddressInfo;
    const dialled: string[] = [];
    const opening = open(`127.0.0.1:${port}`, dialled);
    await expect(opening).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    expect(dialled).toEqual([]);
    await new Promise((resolve) => taken.close(resolve));
  });
});
