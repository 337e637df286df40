import { createServer, type AddressInfo } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { CairnError, storeId } from '@cairn/base';
import { noopLogger, type Listener } from '@cairn/ports';
import { NodeClock, NodeRng, TcpTransport } from '@cairn/runtime-node';
import { ReconnectingSession } from './reconnecting-session.js';
import { RpcPool } from './rpc-client.js';
import { MetadataRpc, ShardRpc } from './rpc-methods.js';
import { createRpcServer, type SessionRpcServer } from './rpc-server.js';
import { acceptSession, openSession } from './session.js';
import { FrameType, type Hello, type Session } from './session-types.js';

const clock = new NodeClock();
const transport = new TcpTransport();
const logger = noopLogger;

function hello(overrides: Partial<Hello> = {}): Hello {
  return {
    protocols: { min: 1, max: 1 },
    clusterVersions: { min: 1, max: 1 },
    build: 'test',
    purpose: 'rpc',
    clusterId: 'c1',
    kind: 'tool',
    name: 't',
    storeId: storeId(0),
    ...overrides,
  };
}

async function serving(
  server: SessionRpcServer,
  own = hello({ kind: 'shard', name: 's', storeId: storeId(7) }),
) {
  return transport.listen('127.0.0.1:0', (connection) => {
    acceptSession(connection, { hello: own, clock, logger, onSession: (session) => server.attach(session) });
  });
}

async function withPool(
  server: SessionRpcServer,
  own: Hello,
  work: (pool: RpcPool, at: Listener) => Promise<void>,
) {
  const listener = await serving(server);
  const pool = new RpcPool({ transport, clock, logger, hello: () => own });
  await work(pool, listener);
  pool.close();
  await listener.close();
}

describe('an rpc over sessions', () => {
  it('answers calls in any order and carries errors with all their fields', async () => {
    const server = createRpcServer({ clock });
    server.handle(MetadataRpc.allocateIds, ({ count }, { remote }) => {
      expect(remote.name).toBe('t');
      if (count > 10)
        throw new CairnError('NOT_LEADER', 'not here', { retryAfterMs: 5, details: { leader: 'a:1' } });
      return { first: count * 2 };
    });
    await withPool(server, hello(), async (pool, { address }) => {
      const client = pool.client(address);
      const calls = [1, 2, 3].map((count) =>
        client.call(MetadataRpc.allocateIds, { count }, { timeoutMs: 60_000 }),
      );
      expect((await Promise.all(calls)).map((response) => response.first)).toEqual([2, 4, 6]);
      await expect(
        client.call(MetadataRpc.allocateIds, { count: 11 }, { timeoutMs: 60_000 }),
      ).rejects.toMatchObject({
        code: 'NOT_LEADER',
        retryClass: 'new-leader',
        retryAfterMs: 5,
        details: { leader: 'a:1' },
      });
      const request = { rangeId: 1, toStoreId: 1 };
      await expect(
        client.call(ShardRpc.transferLeader, request, { timeoutMs: 60_000 }),
      ).rejects.toMatchObject({
        code: 'FAILED_PRECONDITION',
      });
    });
  });

  it('says whose answer it could not read, and goes on with the session', async () => {
    const server = createRpcServer({ clock });
    const levels = Buffer.alloc(60_000, Buffer.from([26, 0]));
    server.handle({ ...ShardRpc.engineStats, encodeResponse: () => levels }, () => ({}) as never);
    server.handle(ShardRpc.debug, () => ({ text: 'fine' }));
    await withPool(server, hello(), async (pool, { address }) => {
      const client = pool.client(address);
      const reading = client.call(ShardRpc.engineStats, {}, { timeoutMs: 60_000 });
      await expect(reading).rejects.toThrow(
        `the answer of ${address} to cairn.internal.v1.Shard/EngineStats cannot be read: levels has 65 elements`,
      );
      await expect(reading).rejects.toMatchObject({ code: 'INTERNAL' });
      const text = await client.call(ShardRpc.debug, { rangeId: 0 }, { timeoutMs: 60_000 });
      expect(text).toEqual({ text: 'fine' });
    });
  });

  it('gives up at the deadline or on a signal, and tells the handler', async () => {
    const server = createRpcServer();
    const called: number[] = [];
    const aborted: unknown[] = [];
    server.handle(
      MetadataRpc.allocateIds,
      ({ count }, { signal }) =>
        new Promise((_resolve, reject) => {
          called.push(count);
          signal.addEventListener('abort', () => {
            aborted.push((signal.reason as CairnError).code);
            reject(signal.reason as Error);
          });
        }),
    );
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    await withPool(server, hello(), async (pool, { address }) => {
      const client = pool.client(address);
      // On a busy machine a deadline can pass before the call has left the client: then it gets a longer one.
      for (let timeoutMs = 20; called.length === 0; timeoutMs *= 2) {
        await expect(client.call(MetadataRpc.allocateIds, { count: 1 }, { timeoutMs })).rejects.toMatchObject(
          { code: 'DEADLINE_EXCEEDED' },
        );
      }
      const abort = new AbortController();
      const call = client.call(
        MetadataRpc.allocateIds,
        { count: 2 },
        { timeoutMs: 60_000, signal: abort.signal },
      );
      while (!called.includes(2)) await turn();
      abort.abort(new CairnError('CANCELLED', 'enough'));
      await expect(call).rejects.toMatchObject({ message: 'enough' });
      while (aborted.length < called.length) await turn();
      expect(aborted).toEqual(called.map(() => 'CANCELLED'));
    });
  });

  it('refuses a node of another cluster with a sentence', async () => {
    await withPool(createRpcServer(), hello({ clusterId: 'c2' }), async (pool, { address }) => {
      await expect(
        pool.client(address).call(MetadataRpc.allocateIds, { count: 1 }, { timeoutMs: 60_000 }),
      ).rejects.toMatchObject({
        code: 'CLUSTER_MISMATCH',
        message: expect.stringContaining('belongs to cluster c2'),
      });
    });
  });
});

describe('sessions', () => {
  it('hold frames back until the handshake is done, and one ends alone by a garbled frame', async () => {
    const errors: (Error | undefined)[] = [];
    const got: string[] = [];
    const listener = await transport.listen('127.0.0.1:0', (connection) => {
      acceptSession(connection, {
        hello: hello({ name: 'server' }),
        clock,
        logger,
        onSession: (session) => ({
          onFrame: (type, body) => {
            got.push(body.toString());
            if (body.toString() === 'bad') throw new CairnError('CORRUPTION', 'bad');
            session.send(type, [body]);
          },
          onClose: (error) => errors.push(error),
        }),
      });
    });
    const open = (text: string): Promise<string> =>
      new Promise((resolve) => {
        const session: Session = openSession({
          transport,
          clock,
          logger,
          address: listener.address,
          hello: hello(),
          handlers: {
            onFrame: (_type, body) => {
              resolve(body.toString());
              session.close();
            },
            onClose: () => {
              resolve('closed');
            },
          },
        });
        session.send(FrameType.kvRequests, [Buffer.from(text)]);
        expect(session.isReady).toBe(false);
      });
    expect(await Promise.all([open('bad'), open('good'), open('fine')])).toEqual(['closed', 'good', 'fine']);
    expect(got.sort()).toEqual(['bad', 'fine', 'good']);
    await listener.close();
  });

  it('come back by themselves', async () => {
    const sessions: Session[] = [];
    const listener = await transport.listen('127.0.0.1:0', (connection) => {
      acceptSession(connection, {
        hello: hello({ name: 'server' }),
        clock,
        logger,
        onSession: (session) => {
          sessions.push(session);
          return { onFrame: () => undefined, onClose: () => undefined };
        },
      });
    });
    let ups = 0;
    await new Promise<void>((resolve) => {
      const pair = new ReconnectingSession({
        transport,
        clock,
        logger,
        rng: new NodeRng(),
        address: () => listener.address,
        hello: () => hello(),
        onFrame: () => undefined,
        onUp: (session) => {
          ups += 1;
          if (ups < 3) session.close();
          else {
            pair.close();
            resolve();
          }
        },
      });
      expect(pair.send(FrameType.raftMessages, [])).toBe(false);
      expect(pair.droppedFrames).toBe(1);
    });
    expect(ups).toBe(3);
    await listener.close();
  });
});

describe('a session with whoever answers at an address', () => {
  it('is worth another try when that is a server of another protocol', async () => {
    const other = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    const closed = new Promise<Error | undefined>((resolve) => {
      const handlers = { onFrame: () => undefined, onClose: resolve };
      openSession({ transport, clock, logger, address: `127.0.0.1:${port}`, hello: hello(), handlers });
    });
    expect(await closed).toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('garbled or not ours'),
    });
    other.close();
  });

  it('is never ready when that is not the node that was meant', async () => {
    const listener = await serving(createRpcServer({ clock }));
    const isOther = ({ storeId: found }: Hello): CairnError | undefined =>
      found === 6 ? undefined : new CairnError('UNAVAILABLE', `store ${found} is where store 6 was`);
    let isReady = false;
    const lines: string[] = [];
    const noting = {
      ...logger,
      info: (event: string) => lines.push(`info ${event}`),
      warn: (event: string) => lines.push(`warn ${event}`),
    };
    const closed = new Promise<Error | undefined>((resolve) => {
      const handlers = { onFrame: () => undefined, onClose: resolve, onReady: () => (isReady = true) };
      const own = { transport, clock, address: listener.address, hello: hello() };
      openSession({ ...own, logger: noting, handlers, isOther });
    });
    expect((await closed)?.message).toBe('store 7 is where store 6 was');
    expect(isReady).toBe(false);
    // Its hello could be understood: no frame was bad.
    expect(lines).toEqual(['info session refused']);
    await listener.close();
  });
});
