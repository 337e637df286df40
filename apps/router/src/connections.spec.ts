import { createServer, connect, type AddressInfo, type Server } from 'node:net';

import { noopLogger, noopMetrics } from '@cairn/ports';
import { NodeClock } from '@cairn/runtime-node';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { Connections } from './connections.js';

/** Of a block that is for documents only (RFC 5737): no machine has it. */
const NOWHERE = '192.0.2.1';

describe('a name that stands for several addresses', () => {
  let connections: Connections;
  let taken: Server;
  let takenPort: number;

  beforeEach(async () => {
    const injector = { injectConnection: () => undefined, drain: () => undefined, destroy: () => undefined };
    const context = { clock: new NodeClock(), logger: noopLogger, metrics: noopMetrics };
    connections = new Connections(
      injector,
      { connectionsMax: 10, handshakeTimeoutMs: 1_000 },
      { ...context, hosts: { isRefused: () => false } },
    );
    taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    takenPort = (taken.address() as AddressInfo).port;
  });

  afterEach(async () => {
    connections.close();
    await new Promise((resolve) => taken.close(resolve));
  });

  const answers = (host: string): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect(takenPort, host);
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });

  it('is listened at where this machine has one of them', async () => {
    const resolve = (): Promise<string[]> => Promise.resolve([NOWHERE, '127.0.0.2']);
    await connections.listen(`somewhere:${takenPort}`, resolve);
    expect(await answers('127.0.0.2')).toBe(true);
  });

  it('is refused when it has none of them', async () => {
    const listening = connections.listen(`somewhere:${takenPort}`, () => Promise.resolve([NOWHERE]));
    await expect(listening).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' });
  });

  it('is refused when one is taken, and then listened at nowhere', async () => {
    const resolve = (): Promise<string[]> => Promise.resolve(['127.0.0.2', '127.0.0.1']);
    const listening = connections.listen(`somewhere:${takenPort}`, resolve);
    await expect(listening).rejects.toMatchObject({ code: 'EADDRINUSE' });
    expect(await answers('127.0.0.2')).toBe(false);
  });
});
