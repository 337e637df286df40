import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { CairnError, messageOf } from '@cairn/base';
import type { Logger } from '@cairn/ports';
import type { ProcessMetrics } from './metrics.js';

/** Whether a process can do its work now; when not, why, one sentence per reason. */
export interface Readiness {
  readonly ready: boolean;
  readonly reasons: readonly string[];
}

export interface HealthServerOptions {
  /** `host:port`; port 0 = any free one. */
  readonly listen: string;
  readonly metrics: Pick<ProcessMetrics, 'render' | 'contentType'>;
  /** Asked on every /readyz; a rejection counts as not ready, with its message as the reason. */
  readonly readiness: () => Promise<Readiness> | Readiness;
  readonly logger: Logger;
  /** For tests. */
  readonly nowMs?: () => number;
  /** For tests. Default 5,000. */
  readonly renderTimeoutMs?: number;
}

export interface HealthServer {
  /** `host:port` with the real port. */
  readonly address: string;
  /** Stops listening and cuts open connections. */
  close(): Promise<void>;
}

/** Requests that take longer are cut: a scrape or probe has given up by then. */
const REQUEST_TIMEOUT_MS = 10_000;
/** A prober sends its few header lines at once. */
const HEADERS_TIMEOUT_MS = 2_000;
const HEADER_BYTES_MAX = 8 * 1024;
const CHECKING_INTERVAL_MS = 500;
/** With one more, the one that has waited longest without a whole request is cut. */
const CONNECTIONS_MAX = 64;

/**
 * A rendering that takes longer hangs on something it collects: whoever waits is told, the next begins anew.
 */
const RENDER_TIMEOUT_MS = 5_000;
/** A page of metrics is served again for so long: rendering all of them is the most that a request costs. */
const METRICS_SHOWN_MS = 250;

interface Page {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | Buffer;
}

function json(status: number, value: unknown): Page {
  return { status, contentType: 'application/json; charset=utf-8', body: `${JSON.stringify(value)}\n` };
}

async function askReadiness(readiness: HealthServerOptions['readiness']): Promise<Readiness> {
  try {
    return await readiness();
  } catch (error) {
    return { ready: false, reasons: [messageOf(error)] };
  }
}

async function inTime(rendering: Promise<string>, timeoutMs: number): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const message = `the metrics were not rendered within ${timeoutMs} ms`;
      reject(new CairnError('DEADLINE_EXCEEDED', message));
    }, timeoutMs);
    timer.unref();
  });
  try {
    return await Promise.race([rendering, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** One rendering at a time, for all who ask while it goes on and shortly afterwards. */
class MetricsPage {
  readonly #metrics: HealthServerOptions['metrics'];
  readonly #nowMs: () => number;
  readonly #timeoutMs: number;
  /** Bytes, which all connections share while they take them. */
  #bytes: Promise<Buffer> | undefined;
  /** Infinite while it is being rendered. */
  #renderedMs = Infinity;

  constructor({ metrics, nowMs, renderTimeoutMs }: HealthServerOptions) {
    this.#metrics = metrics;
    this.#timeoutMs = renderTimeoutMs ?? RENDER_TIMEOUT_MS;
    this.#nowMs = nowMs ?? (() => performance.now());
  }

  bytes(): Promise<Buffer> {
    if (this.#bytes !== undefined && this.#nowMs() - this.#renderedMs < METRICS_SHOWN_MS) {
      return this.#bytes;
    }
    this.#renderedMs = Infinity;
    const bytes = inTime(this.#metrics.render(), this.#timeoutMs).then((text) => Buffer.from(text));
    this.#bytes = bytes;
    bytes.then(
      () => {
        this.#renderedMs = this.#nowMs();
      },
      // Whoever asked hears of it; the next one has it rendered anew.
      () => {
        this.#bytes = undefined;
      },
    );
    return bytes;
  }
}

async function pageFor(
  options: HealthServerOptions,
  metrics: MetricsPage,
  request: IncomingMessage,
): Promise<Page> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return json(405, { error: 'only GET and HEAD' });
  const path = (request.url ?? '/').split('?', 1)[0];
  switch (path) {
    case '/metrics':
      return { status: 200, contentType: options.metrics.contentType, body: await metrics.bytes() };
    case '/healthz':
      return json(200, { healthy: true });
    case '/readyz': {
      const { ready, reasons } = await askReadiness(options.readiness);
      return json(ready ? 200 : 503, { ready, reasons });
    }
    default:
      return json(404, { error: 'not found', paths: ['/metrics', '/healthz', '/readyz'] });
  }
}

function answer(response: ServerResponse, request: IncomingMessage, page: Page): void {
  response.writeHead(page.status, {
    'content-type': page.contentType,
    'content-length': Buffer.byteLength(page.body),
    'cache-control': 'no-store',
    connection: 'close',
  });
  response.end(request.method === 'HEAD' ? undefined : page.body);
}

function splitListen(listen: string): { host: string; port: number } {
  const colon = listen.lastIndexOf(':');
  const host = listen.slice(0, colon).replace(/^\[|\]$/g, '');
  return { host, port: Number(listen.slice(colon + 1)) };
}

function addressOf(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo;
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
}

/**
 * Keeps room for whoever comes next: connections that say nothing, or speak slowly, must not take probes
 * away. Of too many the oldest that is not being answered is cut, else the oldest.
 */
function boundConnections(server: Server): void {
  const isAnswered = new Map<Socket, boolean>();
  server.on('connection', (socket) => {
    if (isAnswered.size >= CONNECTIONS_MAX) {
      const [first] = isAnswered.keys();
      const idle = [...isAnswered].find(([, answered]) => !answered)?.[0] ?? first;
      if (idle !== undefined) isAnswered.delete(idle);
      idle?.destroy();
    }
    isAnswered.set(socket, false);
    socket.once('close', () => isAnswered.delete(socket));
  });
  server.on('request', ({ socket }, response) => {
    isAnswered.set(socket, true);
    response.once('close', () => {
      if (isAnswered.has(socket)) isAnswered.set(socket, false);
    });
  });
}

/**
 * Serves `/metrics` (Prometheus), `/healthz` (the process runs) and `/readyz` (it can do its work; 503 and
 * the reasons otherwise).
 *
 * @throws CairnError `UNAVAILABLE` when the address cannot be listened on.
 */
export async function createHealthServer(options: HealthServerOptions): Promise<HealthServer> {
  const limits = {
    connectionsCheckingInterval: CHECKING_INTERVAL_MS,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    maxHeaderSize: HEADER_BYTES_MAX,
  };
  const metrics = new MetricsPage(options);
  /** Connections that have sent their one request. */
  const asked = new WeakSet<Socket>();
  const server = createServer(limits, (request, response) => {
    // Requests of a pipeline are all begun at once, without a look at whether anybody takes the answers.
    if (asked.has(request.socket)) {
      request.socket.destroy();
      return;
    }
    asked.add(request.socket);
    pageFor(options, metrics, request).then(
      (page) => answer(response, request, page),
      (error: unknown) => {
        options.logger.warn('health page failed', { path: request.url, error: messageOf(error) });
        answer(response, request, json(500, { error: messageOf(error) }));
      },
    );
  });
  boundConnections(server);
  server.setTimeout(REQUEST_TIMEOUT_MS);
  const { host, port } = splitListen(options.listen);
  await new Promise<void>((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => {
      const message =
        error.code === 'EADDRINUSE'
          ? `${options.listen} is in use by another process: stop it, or choose another address with ` +
            '--http-listen'
          : `cannot serve health and metrics on ${options.listen}: ${error.message}`;
      reject(new CairnError('UNAVAILABLE', message, { cause: error }));
    };
    server.once('error', onError);
    server.listen(port, host, () => {
      server.off('error', onError);
      resolve();
    });
  });
  server.on('error', (error) => options.logger.warn('health server error', { error: error.message }));
  return {
    address: addressOf(server),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
