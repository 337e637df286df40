import { once } from 'node:events';
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';

import { createMetrics, type ProcessMetrics } from '@cairn/observability';
import { noopLogger } from '@cairn/ports';
import { NodeClock } from '@cairn/runtime-node';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { Connections } from './connections.js';

/** Of a block that is for documents only (RFC 5737): no machine has it. */
const NOWHERE = '192.0.2.1';

let connections: Connections;
let metrics: ProcessMetrics;
/** Holds a port at 127.0.0.1. */
let taken: Server;
let port: number;
let sockets: Socket[];

beforeEach(async () => {
  const injector = { injectConnection: () => undefined, drain: () => undefined, destroy: () => undefined };
  metrics = createMetrics({ processMetrics: false });
  const context = { clock: new NodeClock(), logger: noopLogger, metrics };
  connections = new Connections(
    injector,
    { connectionsMax: 4, handshakeTimeoutMs: 60_000 },
    { ...context, hosts: { isRefused: () => false } },
  );
  sockets = [];
  taken = createServer();
  await new Promise<void>((resolve) => {
    taken.listen(0, '127.0.0.1', resolve);
  });
  port = (taken.address() as AddressInfo).port;
});

afterEach(async () => {
  connections.close();
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => taken.close(resolve));
});

function listen(...addresses: string[]): Promise<string> {
  return connections.listen(`somewhere:${port}`, () => Promise.resolve(addresses));
}

function dial(from = '127.0.0.1'): Socket {
  const socket = connect({ port, host: '127.0.0.2', localAddress: from });
  sockets.push(socket);
  return socket;
}

const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

/** How a connection ended that did not last. */
async function refusal(socket: Socket): Promise<string> {
  try {
    await once(socket, 'close');
    return 'closed';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? '';
  }
}

describe('a name that stands for several addresses', () => {
  it('is listened at where this machine has one of them', async () => {
    expect(await listen(NOWHERE, '127.0.0.2')).toBe(`somewhere:${port}`);
    await once(dial(), 'connect');
  });

  it('is listened at on one port where none is named, and told with it', async () => {
    const addresses = ['127.0.0.2', '127.0.0.3'];
    const address = await connections.listen('somewhere:0', () => Promise.resolve(addresses));
    const [host, picked] = address.split(':');
    expect(host).toBe('somewhere');
    for (const each of addresses) {
      const socket = connect({ port: Number(picked), host: each });
      sockets.push(socket);
      await once(socket, 'connect');
    }
  });

  it('is refused when it has none of them', async () => {
    await expect(listen(NOWHERE)).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' });
  });

  it('is refused when one is taken, and then listened at nowhere', async () => {
    await expect(listen('127.0.0.2', '127.0.0.1')).rejects.toMatchObject({ code: 'EADDRINUSE' });
    expect(await refusal(dial())).toBe('ECONNREFUSED');
  });
});

describe('one host', () => {
  it('has three quarters of all connections at most, and gets a place again for each it gives back', async () => {
    await listen('127.0.0.2');
    const [first, ...others] = [dial(), dial(), dial()];
    for (const socket of [first, ...others]) await once(socket, 'connect');
    expect(await refusal(dial())).toBe('closed');
    await once(dial('127.0.0.3'), 'connect');
    first?.destroy();
    // The server hears of it in a later turn.
    while (!(await metrics.render()).includes('cairn_router_client_connections 3')) await turn();
    dial();
    while (!(await metrics.render()).includes('cairn_router_client_connections 4')) await turn();
    expect(await metrics.render()).toContain(
      'cairn_router_refused_connections_total{reason="too-many-of-host"} 1',
    );
  });
});
