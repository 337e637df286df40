import { request } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
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

  it('says which address is taken', async () => {
    await start(() => ({ ready: true, reasons: [] }));
    const again = createHealthServer({
      listen: server.address,
      metrics: createMetrics({ processMetrics: false }),
      readiness: () => ({ ready: true, reasons: [] }),
      logger: noopLogger,
    });
    await expect(again).rejects.toThrow(
      `cannot serve health and metrics on ${server.address}: listen EADDRINUSE`,
    );
  });
});
