import { connect as connectSocket, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { CairnError, type RangeId } from '@cairn/base';
import { noopLogger, type Rng } from '@cairn/ports';
import { NodeClock, TcpTransport } from '@cairn/runtime-node';
import { FrameType, openSession, THIS_BUILD, type Hello, type Purpose, type Session } from '@cairn/wire';

import type { Counts } from './counts.js';
import { CLAIMED_STORE_IDS, frameSeeds, type FrameSeeds } from './frame-seeds.js';
import { below, between, mutate, pick, randomBytes } from './mutate.js';

export interface FrameFuzzerOptions {
  readonly rng: Rng;
  readonly counts: Counts;
  /** Framed addresses of shard nodes and metadata members. */
  readonly addresses: readonly string[];
  readonly clusterId: string;
  /** The first range: where the fuzzer's keys are. */
  readonly rangeId: RangeId;
}

const PURPOSES: readonly Purpose[] = ['rpc', 'kv', 'raft', 'bulk'];
const FRAMES_PER_SESSION_MAX = 20;
const ANSWER_WAIT_MS = 30;
const SILENT_CONNECTIONS = 200;
const SWOLLEN_MIB_MAX = 32;

type Attack = 'frames' | 'hello' | 'raw' | 'flipped' | 'silent' | 'never-reads' | 'slow' | 'swollen';
/** The cheap ones come more often. */
const ATTACKS: readonly Attack[] = [
  ...Array.from({ length: 30 }, () => 'frames' as const),
  ...([
    'hello',
    'hello',
    'raw',
    'raw',
    'raw',
    'flipped',
    'flipped',
    'silent',
    'never-reads',
    'slow',
    'swollen',
  ] as const),
];

/** Attacks the framed ports, one connection after the other, and counts how each ended. */
export class FrameFuzzer {
  readonly #options: FrameFuzzerOptions;
  readonly #clock = new NodeClock();
  readonly #transport = new TcpTransport();
  readonly #seeds: FrameSeeds;

  constructor(options: FrameFuzzerOptions) {
    this.#options = options;
    this.#seeds = frameSeeds(this.#clock, options.rangeId);
  }

  async step(): Promise<void> {
    const attack = pick(this.#options.rng, ATTACKS);
    switch (attack) {
      case 'frames':
        return this.#frames();
      case 'hello':
        return this.#hello();
      case 'raw':
        return this.#raw(randomBytes(this.#options.rng, between(this.#options.rng, 1, 4_096)), 'raw');
      case 'flipped':
        return this.#flipped();
      case 'silent':
        return this.#silent();
      case 'never-reads':
        return this.#neverReads();
      case 'slow':
        return this.#slow();
      case 'swollen':
        return this.#swollen();
    }
  }

  #helloOf(purpose: Purpose): Hello {
    const { rng, clusterId } = this.#options;
    return {
      ...THIS_BUILD,
      purpose,
      clusterId,
      kind: pick(rng, ['shard', 'router', 'tool', 'metadata'] as const),
      name: pick(rng, ['fuzzed', 'shard-1', 'shard-2', 'metadata-1', '']),
      storeId: pick(rng, CLAIMED_STORE_IDS),
    };
  }

  /** A session that shook hands; undefined when it was refused. */
  async #open(purpose: Purpose): Promise<{ session: Session; closed: Promise<string> } | undefined> {
    const ready = Promise.withResolvers<boolean>();
    const closed = Promise.withResolvers<string>();
    const session = openSession({
      transport: this.#transport,
      address: pick(this.#options.rng, this.#options.addresses),
      hello: this.#helloOf(purpose),
      clock: this.#clock,
      logger: noopLogger,
      handlers: {
        onReady: () => ready.resolve(true),
        onFrame: () => undefined,
        onClose: (error) => {
          ready.resolve(false);
          closed.resolve(CairnError.is(error) ? error.code : 'closed');
        },
      },
    });
    if (await ready.promise) return { session, closed: closed.promise };
    this.#options.counts.add(`hello-${purpose}`, await closed.promise);
    return undefined;
  }

  /** Mutated frames that carry right lengths and checksums. */
  async #frames(): Promise<void> {
    const { rng, counts } = this.#options;
    const purpose = pick(rng, PURPOSES);
    const opened = await this.#open(purpose);
    if (opened === undefined) return;
    const seeds = this.#seeds[purpose];
    const bodies = seeds.map(({ body }) => body);
    const frames = between(rng, 1, FRAMES_PER_SESSION_MAX);
    for (let frame = 0; frame < frames && !opened.session.isClosed; frame += 1) {
      const seed = pick(rng, seeds);
      const isForeign = below(rng, 20) === 0;
      const type = isForeign ? pick(rng, Object.values(FrameType)) : seed.type;
      opened.session.send(type, [mutate(rng, seed.body, bodies)]);
      counts.add(`${purpose}-frame`, 'sent');
    }
    const ended = await Promise.race([opened.closed, delay(ANSWER_WAIT_MS, 'open')]);
    counts.add(`${purpose}-session`, ended);
    opened.session.close();
  }

  /** What an honest session sends first, as bytes on the wire. */
  async #recorded(purpose: Purpose): Promise<Buffer> {
    const chunks: Buffer[] = [];
    const server = createServer((socket) => socket.on('data', (chunk) => chunks.push(chunk)));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const session = openSession({
      transport: this.#transport,
      address: `127.0.0.1:${port}`,
      hello: this.#helloOf(purpose),
      clock: this.#clock,
      logger: noopLogger,
      handlers: { onFrame: () => undefined, onClose: () => undefined },
    });
    await delay(ANSWER_WAIT_MS);
    session.close();
    await new Promise((resolve) => server.close(resolve));
    return Buffer.concat(chunks);
  }

  async #hello(): Promise<void> {
    const { rng } = this.#options;
    const hello = await this.#recorded(pick(rng, PURPOSES));
    await this.#raw(mutate(rng, hello, [hello]), 'hello-mutated');
  }

  /** A right hello, then noise: announced lengths, checksums and types that are wrong. */
  async #flipped(): Promise<void> {
    const { rng } = this.#options;
    const hello = await this.#recorded(pick(rng, PURPOSES));
    const noise = mutate(rng, Buffer.concat([hello, hello, hello]).subarray(hello.length), [hello]);
    await this.#raw(Buffer.concat([hello, noise]), 'flipped');
  }

  async #raw(bytes: Buffer, what: string): Promise<void> {
    const socket = this.#socket();
    socket.write(bytes);
    const ended = await Promise.race([closeOf(socket), delay(ANSWER_WAIT_MS, 'open')]);
    this.#options.counts.add(what, ended);
    socket.destroy();
  }

  #socket(): Socket {
    const address = pick(this.#options.rng, this.#options.addresses);
    const [host = '', port = ''] = address.split(':');
    const socket = connectSocket(Number(port), host);
    socket.on('error', () => undefined);
    return socket;
  }

  async #silent(): Promise<void> {
    const sockets = Array.from({ length: SILENT_CONNECTIONS }, () => this.#socket());
    await delay(200);
    const closed = sockets.filter((socket) => socket.destroyed || socket.readableEnded).length;
    this.#options.counts.add('silent', 'closed', closed);
    this.#options.counts.add('silent', 'open', sockets.length - closed);
    for (const socket of sockets) socket.destroy();
  }

  /** Asks for much and reads nothing of it. */
  async #neverReads(): Promise<void> {
    const { rng, counts } = this.#options;
    const hello = await this.#recorded('kv');
    const socket = this.#socket();
    socket.pause();
    socket.write(hello);
    const opened = await this.#open('kv');
    const scan = this.#seeds.kv.at(-1);
    if (opened !== undefined && scan !== undefined) {
      for (let frame = 0; frame < 200 && !opened.session.isClosed; frame += 1) {
        opened.session.send(scan.type, [scan.body]);
      }
      await delay(between(rng, 50, 300));
      opened.session.close();
    }
    counts.add('never-reads', socket.destroyed ? 'closed' : 'open');
    socket.destroy();
  }

  /** A call of an honest node with millions of fields of two bytes behind it. */
  async #swollen(): Promise<void> {
    const { rng, counts } = this.#options;
    const opened = await this.#open('rpc');
    if (opened === undefined) return;
    const field = Buffer.from([between(rng, 1, 15) * 8 + pick(rng, [0, 2]), 0]);
    const more = Buffer.alloc(between(rng, 1, SWOLLEN_MIB_MAX) * 1024 * 1024, field);
    const { type, body } = pick(rng, this.#seeds.rpc);
    opened.session.send(type, [body, more]);
    counts.add('swollen', 'sent');
    await Promise.race([opened.closed, delay(10 * ANSWER_WAIT_MS)]);
    opened.session.close();
  }

  async #slow(): Promise<void> {
    const hello = await this.#recorded('kv');
    const socket = this.#socket();
    for (const byte of hello.subarray(0, 30)) {
      if (socket.destroyed) break;
      socket.write(Buffer.from([byte]));
      await delay(5);
    }
    this.#options.counts.add('slow', socket.destroyed ? 'closed' : 'open');
    socket.destroy();
  }
}

function closeOf(socket: Socket): Promise<string> {
  socket.resume();
  return new Promise((resolve) => socket.once('close', () => resolve('closed')));
}
