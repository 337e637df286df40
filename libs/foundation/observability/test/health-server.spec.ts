import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { noopLogger } from '@cairn/ports';
import { createHealthServer, createMetrics, type HealthServer, type Readiness } from '@cairn/observability';

interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

function ask(server: HealthServer, path: string, method = 'GET'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request(`http://${server.address}${path}`, { method, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (body += chunk));
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          contentType: response.headers['content-type'] ?? '',
          body,
        }),
      );
    });
    call.on('error', reject);
    call.end();
  });
}

describe('health server', () => {
  let server: HealthServer;
  const start = async (readiness: () => Promise<Readiness> | Readiness): Promise<void> => {
    const metrics = createMetrics({ processMetrics: false });
    metrics.counter('cairn_starts_total', 'Starts.').add(1);
    server = await createHealthServer({ listen: '127.0.0.1:0', metrics, readiness, logger: noopLogger });
  };
  afterEach(() => server.close());

  it('serves metrics, health and readiness', async () => {
    await start(() => ({ ready: true, reasons: [] }));
    const metrics = await ask(server, '/metrics');
    expect(metrics).toMatchObject({ status: 200, contentType: 'text/plain; version=0.0.4; charset=utf-8' });
    expect(metrics.body).toMatch(/^cairn_starts_total 1$/m);
    expect(await ask(server, '/healthz')).toMatchObject({ status: 200, body: '{"healthy":true}\n' });
    expect(await ask(server, '/readyz?verbose')).toMatchObject({
      status: 200,
      body: '{"ready":true,"reasons":[]}\n',
    });
  });

  it('says why it is not ready', async () => {
    await start(() => Promise.resolve({ ready: false, reasons: ['no metadata leader'] }));
    expect(await ask(server, '/readyz')).toMatchObject({
      status: 503,
      body: '{"ready":false,"reasons":["no metadata leader"]}\n',
    });
  });

  it('takes a failing check for not ready', async () => {
    await start(() => Promise.reject(new Error('no answer')));
    expect(await ask(server, '/readyz')).toMatchObject({
      status: 503,
      body: expect.stringContaining('no answer'),
    });
  });

  it('refuses other paths and methods, and answers HEAD without a body', async () => {
    await start(() => ({ ready: true, reasons: [] }));
    expect((await ask(server, '/other')).status).toBe(404);
    expect((await ask(server, '/healthz', 'POST')).status).toBe(405);
    expect(await ask(server, '/healthz', 'HEAD')).toMatchObject({ status: 200, body: '' });
  });

  it('answers however many connections say nothing', async () => {
    await start(() => ({ ready: true, reasons: [] }));
    const port = Number(server.address.slice(server.address.lastIndexOf(':') + 1));
    const silent = Array.from({ length: 200 }, () => connect(port, '127.0.0.1'));
    for (const socket of silent) socket.on('error', () => undefined);
    await Promise.all(
      silent.map(
        (socket) =>
          new Promise((resolve) => {
            socket.once('connect', resolve);
            socket.once('close', resolve);
          }),
      ),
    );
    for (const socket of silent.slice(100)) socket.write('GET /healthz HTTP/1.1\r\n');
    expect(await ask(server, '/healthz')).toMatchObject({ status: 200 });
    for (const socket of silent) socket.destroy();
  });

  describe('with pages that are counted', () => {
    let rendered: number;
    let nowMs: number;
    let hold: Promise<unknown>;
    beforeEach(async () => {
      [rendered, nowMs, hold] = [0, 0, Promise.resolve()];
      server = await createHealthServer({
        listen: '127.0.0.1:0',
        metrics: {
          contentType: 'text/plain',
          render: async () => {
            rendered += 1;
            await hold;
            return `page ${rendered}`;
          },
        },
        readiness: () => ({ ready: true, reasons: [] }),
        logger: noopLogger,
        nowMs: () => nowMs,
      });
    });

    it('answers one request of a connection, however many come in a pipeline', async () => {
      const port = Number(server.address.slice(server.address.lastIndexOf(':') + 1));
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => undefined);
      let heard = '';
      socket.setEncoding('latin1').on('data', (chunk: string) => (heard += chunk));
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(500));
      await closed;
      expect(heard.split('HTTP/1.1 200').length).toBeLessThanOrEqual(2);
      expect(rendered).toBe(1);
    });

    it('renders metrics once for all who ask at a time and within 250 ms', async () => {
      const release = Promise.withResolvers<undefined>();
      hold = release.promise;
      const asking = Array.from({ length: 8 }, () => ask(server, '/metrics'));
      await ask(server, '/healthz');
      release.resolve(undefined);
      expect(new Set((await Promise.all(asking)).map(({ body }) => body))).toEqual(new Set(['page 1']));
      nowMs = 249;
      expect((await ask(server, '/metrics')).body).toBe('page 1');
      nowMs = 250;
      expect((await ask(server, '/metrics')).body).toBe('page 2');
    });

    it('closes a connection after its answer', async () => {
      const connection = await new Promise((resolve, reject) => {
        request(`http://${server.address}/healthz`, { agent: new Agent({ keepAlive: true }) }, (response) => {
          response.resume();
          resolve(response.headers.connection);
        })
          .on('error', reject)
          .end();
      });
      expect(connection).toBe('close');
    });
  });

  it('renders metrics anew after a rendering that hung', async () => {
    let renderings = 0;
    server = await createHealthServer({
      listen: '127.0.0.1:0',
      metrics: {
        contentType: 'text/plain',
        render: () => ((renderings += 1) === 1 ? new Promise(() => undefined) : Promise.resolve('fine 1\n')),
      },
      readiness: () => ({ ready: true, reasons: [] }),
      logger: noopLogger,
      renderTimeoutMs: 20,
    });
    expect(await ask(server, '/metrics')).toMatchObject({
      status: 500,
      body: '{"error":"the metrics were not rendered within 20 ms"}\n',
    });
    expect(await ask(server, '/metrics')).toMatchObject({ status: 200, body: 'fine 1\n' });
  });

  it('says which address is taken', async () => {
    await start(() => ({ ready: true, reasons: [] }));
    const again = createHealthServer({
      listen: server.address,
      metrics: createMetrics({ processMetrics: false }),
      readiness: () => ({ ready: true, reasons: [] }),
      logger: noopLogger,
    });
    await expect(again).rejects.toThrow(
      `${server.address} is in use by another process: stop it, or choose another address with --http-listen`,
    );
  });
});
