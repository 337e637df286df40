import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { gzipSync } from 'node:zlib';
import type { Rng } from '@cairn/ports';
import { clusterServiceDefinition, isWritingCall, kvServiceDefinition } from '@cairn/wire';

import type { Counts } from './counts.js';
import { below, between, mutate, pick, randomBytes } from './mutate.js';

export interface GrpcFuzzerOptions {
  readonly rng: Rng;
  readonly counts: Counts;
  /** gRPC addresses of routers. */
  readonly addresses: readonly string[];
  /** Told of an answer that breaks the promises of the door. */
  readonly onViolation: (text: string) => void;
}

interface Call {
  readonly path: string;
  /** The message of an honest client; mutated before it is sent. */
  readonly message: Buffer;
}

/** An answer must come within this time, whatever was asked. */
const ANSWER_TIMEOUT_MS = 10_000;
/** A watch goes on until it is left. */
const WATCH_TIMEOUT_MS = 200;
const WATCHED_MIB_MAX = 4;
const BOMB_BYTES = 64 * 1024 * 1024;
const UNKNOWN = 2;
const INTERNAL = 13;

/** Keys of the fuzzer, see `frameSeeds`. */
const KEY = Buffer.from('a-fuzzed-key');

function callsOf(): Call[] {
  const kv = kvServiceDefinition;
  const field = (number: number, bytes: Uint8Array): Buffer =>
    Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
  const plain = Buffer.concat([field(1, KEY), field(2, Buffer.from('value'))]);
  const paths = [...Object.values(kv), ...Object.values(clusterServiceDefinition)].map(({ path }) => path);
  // What is valid by chance must not change the cluster itself, or anything outside the keys of the fuzzer.
  const tame = paths.filter((path) => !/PutSetting|SplitRanges|DeleteRange/.test(path));
  return tame.map((path) => ({ path, message: plain }));
}

/** Sends what no client library would to the gRPC port, over HTTP/2 as it is. */
export class GrpcFuzzer {
  readonly #options: GrpcFuzzerOptions;
  readonly #calls = callsOf();
  readonly #bomb = gzipSync(Buffer.alloc(BOMB_BYTES));
  #session: ClientHttp2Session | undefined;

  constructor(options: GrpcFuzzerOptions) {
    this.#options = options;
  }

  async step(): Promise<void> {
    const { rng, counts } = this.#options;
    const call = pick(rng, this.#calls);
    const kind = below(rng, 40);
    if (kind === 0)
      return this.#call('bomb', call.path, framed(this.#bomb, true), { 'grpc-encoding': 'gzip' });
    if (kind === 1) return this.#call('unknown-method', `${call.path}x`, framed(call.message, false));
    if (kind === 2) return this.#call('long-header', call.path, framed(call.message, false), longHeader(rng));
    if (kind === 3) return this.#call('lying-length', call.path, lying(rng, call.message));
    if (kind === 4)
      return this.#call('bad-deadline', call.path, framed(call.message, false), badDeadline(rng));
    if (kind === 5) return this.#call('many-keys', '/cairn.v1.KV/BatchGet', manyKeys(rng));
    if (kind === 6) {
      counts.add('grpc-reset', 'sent');
      return this.#reset(call);
    }
    if (kind === 7) return this.#takenBack();
    if (kind === 8) return this.#watch();
    const message = mutate(rng, call.message, [call.message, randomBytes(rng, 64)]);
    return this.#call('grpc-message', call.path, framed(message, false));
  }

  close(): void {
    this.#session?.destroy();
  }

  #connected(): ClientHttp2Session {
    if (this.#session !== undefined && !this.#session.destroyed && !this.#session.closed)
      return this.#session;
    const session = connect(`http://${pick(this.#options.rng, this.#options.addresses)}`);
    session.on('error', () => undefined);
    this.#session = session;
    return session;
  }

  #stream(path: string, headers: Readonly<Record<string, string>>): ClientHttp2Stream {
    return this.#connected().request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
  }

  async #call(
    what: string,
    path: string,
    body: Buffer,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const stream = this.#stream(path, headers);
    const ended = await endOf(stream, body);
    this.#options.counts.add(what, ended.text);
    if (ended.text === 'no answer') this.#options.onViolation(`${what} on ${path}: no answer`);
    if (isUnexplained(path, ended))
      this.#options.onViolation(`${what} on ${path}: status ${ended.status} ${ended.message}`);
  }

  /** Packed calls at once, more than are unpacked at a time, and all of them taken back. */
  async #takenBack(): Promise<void> {
    const { rng, counts } = this.#options;
    const body = framed(this.#bomb, true);
    const streams = Array.from({ length: 8 }, () => {
      const stream = this.#stream(pick(rng, this.#calls).path, { 'grpc-encoding': 'gzip' });
      stream.on('error', () => undefined);
      stream.end(body);
      return stream;
    });
    await new Promise((resolve) => setTimeout(resolve, below(rng, 20)));
    for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
    counts.add('packed-taken-back', 'sent', streams.length);
  }

  /** Watches a service that nobody serves, by a name that nobody wants to keep, and leaves. */
  async #watch(): Promise<void> {
    const { rng, counts } = this.#options;
    const name = Buffer.alloc(between(rng, 1, WATCHED_MIB_MAX) * 1024 * 1024, 'w');
    name.writeUInt32BE(between(rng, 1, 0x6f6f6f6f));
    const stream = this.#stream('/grpc.health.v1.Health/Watch', {});
    const head = Buffer.from([10, (name.length & 127) | 128, ((name.length >> 7) & 127) | 128]);
    const rest = Buffer.from([((name.length >> 14) & 127) | 128, name.length >> 21]);
    const ended = await endOf(stream, framed(Buffer.concat([head, rest, name]), false), WATCH_TIMEOUT_MS);
    counts.add('watch', ended.text);
  }

  async #reset(call: Call): Promise<void> {
    const stream = this.#stream(call.path, {});
    stream.on('error', () => undefined);
    stream.write(framed(call.message, false).subarray(0, 4));
    await new Promise((resolve) => setImmediate(resolve));
    stream.close(constants.NGHTTP2_CANCEL);
  }
}

interface CallEnd {
  readonly text: string;
  readonly status: number | undefined;
  readonly message: string;
  readonly hasDetail: boolean;
}

/**
 * What a client causes is never the server's unexplained failure. UNKNOWN is an answer to writes alone, with
 * a detail: one whose deadline passed after it was sent, as nobody knows what became of it.
 */
export function isUnexplained(
  path: string,
  { status, hasDetail }: Pick<CallEnd, 'status' | 'hasDetail'>,
): boolean {
  if (status === UNKNOWN) return !hasDetail || !isWritingCall(path);
  return status === INTERNAL && !hasDetail;
}

function endOf(stream: ClientHttp2Stream, body: Buffer, timeoutMs = ANSWER_TIMEOUT_MS): Promise<CallEnd> {
  return new Promise((resolve) => {
    const seen: Record<string, string | string[] | number | undefined> = {};
    const settle = (text: string): void => {
      clearTimeout(timer);
      const status = seen['grpc-status'] === undefined ? undefined : Number(seen['grpc-status']);
      const message = [seen['grpc-message'] ?? ''].flat().join(' ');
      const hasDetail =
        seen['cairn-error-detail-bin'] !== undefined || seen['grpc-status-details-bin'] !== undefined;
      resolve({ text: status === undefined ? text : `status ${status}`, status, message, hasDetail });
      if (!stream.destroyed) stream.close(constants.NGHTTP2_CANCEL);
    };
    const timer = setTimeout(() => settle('no answer'), timeoutMs);
    stream.on('response', (headers) => {
      Object.assign(seen, headers);
    });
    stream.on('trailers', (headers) => {
      Object.assign(seen, headers);
    });
    stream.on('data', () => undefined);
    stream.on('end', () => settle('ended'));
    stream.on('error', () => settle('broken'));
    stream.on('close', () => settle('closed'));
    stream.end(body);
  });
}

/** The five bytes before each message: compressed or not, and its length. */
function framed(message: Uint8Array, isCompressed: boolean): Buffer {
  const head = Buffer.alloc(5);
  head[0] = isCompressed ? 1 : 0;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function lying(rng: Rng, message: Buffer): Buffer {
  const body = framed(message, false);
  body.writeUInt32BE(pick(rng, [0, 1, message.length - 1, message.length + 1, 0x7fffffff, 0xffffffff]), 1);
  return body;
}

function longHeader(rng: Rng): Record<string, string> {
  return { 'x-long': 'y'.repeat(between(rng, 1_000, 60_000)) };
}

function badDeadline(rng: Rng): Record<string, string> {
  return { 'grpc-timeout': pick(rng, ['', '0n', '-1S', '99999999999S', '1', 'xS', '1u', '99999999H']) };
}

/** A BatchGet of very many empty keys: two bytes each. */
function manyKeys(rng: Rng): Buffer {
  return framed(Buffer.alloc(between(rng, 1_000, 1_000_000) * 2, Buffer.from([0x0a, 0x00])), false);
}
