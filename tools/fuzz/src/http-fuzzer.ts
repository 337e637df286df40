import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Rng } from '@cairn/ports';

import type { Counts } from './counts.js';
import { between, mutate, pick, randomBytes } from './mutate.js';

export interface HttpFuzzerOptions {
  readonly rng: Rng;
  readonly counts: Counts;
  /** Health addresses of all processes. */
  readonly addresses: readonly string[];
}

const REQUESTS: readonly Buffer[] = [
  'GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n',
  'GET /readyz?x=%00 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n',
  'HEAD /metrics HTTP/1.0\r\n\r\n',
  'POST /metrics HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nffffffff\r\nx',
  'OPTIONS * HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\n\r\n',
].map((text) => Buffer.from(text));

/** Attacks the health pages: garbled requests, and slow ones that hold connections. */
export class HttpFuzzer {
  readonly #options: HttpFuzzerOptions;

  constructor(options: HttpFuzzerOptions) {
    this.#options = options;
  }

  async step(): Promise<void> {
    const { rng, counts, addresses } = this.#options;
    const [host = '', port = ''] = pick(rng, addresses).split(':');
    const socket = connect(Number(port), host);
    let answered = 'silence';
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      answered = chunk.toString('latin1', 9, 12);
    });
    const isNoise = rng.integer(5) === 0;
    const bytes = isNoise ? randomBytes(rng, 200) : mutate(rng, pick(rng, REQUESTS), REQUESTS);
    socket.write(bytes);
    // Some are left open for a while: the pages must stay in reach of others.
    await delay(between(rng, 1, 20));
    counts.add('http', answered);
    if (rng.integer(10) === 0) setTimeout(() => socket.destroy(), 3_000).unref();
    else socket.destroy();
  }
}
