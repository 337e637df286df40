import { lookup } from 'node:dns/promises';
import { createServer, type AddressInfo, type Server as NetServer, type Socket } from 'node:net';

import { parseAddress } from '@cairn/config';
import { type Clock, type Counter, LogBudget, type Logger, type Metrics } from '@cairn/ports';
import type { ConnectionInjector } from '@grpc/grpc-js';

/** What an HTTP/2 client sends first, whatever it wants (RFC 9113, 3.4). */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** What the system says of an address that this machine does not have. */
const NO_SUCH_ADDRESS = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT']);

/** One host may have this part of all connections: the others must get in, however many it opens. */
const HOST_SHARE = 3 / 4;

export interface ConnectionLimits {
  /** Connections at a time, and three quarters of them for one host; more are closed at once. */
  readonly connectionsMax: number;
  /** Within this a connection says that it speaks HTTP/2, or is closed. */
  readonly handshakeTimeoutMs: number;
}

/** The addresses of a host. */
export type ResolveName = (host: string) => Promise<readonly string[]>;

export interface ConnectionContext {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Hosts that nobody is taken in from for now. */
export interface RefusedHosts {
  isRefused(host: string): boolean;
}

/**
 * Accepts connections for a gRPC server. A connection is handed on when it has begun to speak HTTP/2; until
 * then it costs a socket and a timer, and not for long.
 */
export class Connections {
  readonly #servers: NetServer[] = [];
  readonly #injector: ConnectionInjector;
  readonly #limits: ConnectionLimits;
  readonly #hosts: RefusedHosts;
  readonly #refused: Counter;
  readonly #lines: LogBudget;
  /** All that are open. */
  readonly #sockets = new Set<Socket>();
  /** How many of them a host has; only hosts that have some. */
  readonly #hostCounts = new Map<string, number>();
  #waiting = 0;

  constructor(
    injector: ConnectionInjector,
    limits: ConnectionLimits,
    context: ConnectionContext & { readonly hosts: RefusedHosts },
  ) {
    const { metrics } = context;
    this.#injector = injector;
    this.#hosts = context.hosts;
    this.#limits = limits;
    this.#lines = new LogBudget({ ...context, event: 'client connection refused' });
    this.#refused = metrics.counter(
      'cairn_router_refused_connections_total',
      'Client connections that were closed before a call, by reason',
      ['reason'],
    );
    const open = metrics.gauge('cairn_router_client_connections', 'Client connections that are open');
    const waiting = metrics.gauge(
      'cairn_router_client_handshakes',
      'Client connections that have not begun to speak HTTP/2',
    );
    metrics.onCollect(() => {
      open.set(this.#sockets.size);
      waiting.set(this.#waiting);
    });
  }

  /**
   * A name that stands for several addresses means all that this machine has: `localhost` may name one of
   * IPv6 where that is off. Port 0 picks one, the same for all. Resolves with the
   * address as others can use it. Rejects when an address is taken, or none can be had; then it listens
   * nowhere.
   */
  async listen(address: string, resolve: ResolveName = addressesOf): Promise<string> {
    const { host, port } = parseAddress(address) ?? { host: address, port: 0 };
    let bound = port;
    let missing: unknown;
    let listening = 0;
    for (const each of await resolve(host)) {
      try {
        bound = await this.#listenAt(each, bound);
        listening += 1;
      } catch (error) {
        const { code = '' } = error as NodeJS.ErrnoException;
        if (!NO_SUCH_ADDRESS.has(code)) {
          this.close();
          throw error;
        }
        missing = error;
      }
    }
    if (listening === 0) throw missing;
    return address.replace(/:\d+$/, `:${bound}`);
  }

  /** Resolves with the port. */
  #listenAt(host: string, port: number): Promise<number> {
    const server = createServer((socket) => {
      this.#accept(socket);
    });
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port }, () => {
        server.off('error', reject);
        resolve((server.address() as AddressInfo).port);
      });
    });
  }

  /** Accepts nobody any more, and closes what has not come to speak. The gRPC server closes the others. */
  stop(): void {
    for (const server of this.#servers) server.close();
  }

  /** Closes all that are left. */
  close(): void {
    this.stop();
    for (const socket of this.#sockets) socket.destroy();
  }

  #tellRefused(socket: Socket, reason: string): void {
    this.#refused.add(1, { reason });
    this.#lines.write({ reason, peer: `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}` });
  }

  #refusalOf(host: string): string | undefined {
    const { connectionsMax } = this.#limits;
    if (this.#sockets.size >= connectionsMax) return 'too-many';
    const ofHost = this.#hostCounts.get(host) ?? 0;
    if (ofHost >= Math.ceil(connectionsMax * HOST_SHARE)) return 'too-many-of-host';
    return this.#hosts.isRefused(host) ? 'flood-before' : undefined;
  }

  #count(host: string, change: number): void {
    const count = (this.#hostCounts.get(host) ?? 0) + change;
    if (count === 0) this.#hostCounts.delete(host);
    else this.#hostCounts.set(host, count);
  }

  #accept(socket: Socket): void {
    const host = socket.remoteAddress ?? '';
    const refusal = this.#refusalOf(host);
    if (refusal !== undefined) {
      this.#tellRefused(socket, refusal);
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    this.#count(host, 1);
    this.#waiting += 1;
    let seen = Buffer.alloc(0);
    const settle = (): void => {
      clearTimeout(timer);
      this.#waiting -= 1;
      socket.off('readable', onReadable);
      socket.off('close', settle);
      socket.off('error', onError);
    };
    const refuse = (reason: string): void => {
      settle();
      this.#tellRefused(socket, reason);
      socket.on('error', onError);
      socket.destroy();
    };
    // What breaks before it speaks is closed by the socket itself.
    const onError = (): void => undefined;
    const onReadable = (): void => {
      for (let chunk = read(socket); chunk !== null; chunk = read(socket))
        seen = Buffer.concat([seen, chunk]);
      if (!PREFACE.subarray(0, seen.length).equals(seen.subarray(0, PREFACE.length))) refuse('no-http2');
      else if (seen.length >= PREFACE.length) {
        settle();
        socket.unshift(seen);
        this.#injector.injectConnection(socket);
      }
    };
    const timer = setTimeout(() => {
      refuse('no-handshake');
    }, this.#limits.handshakeTimeoutMs);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#count(host, -1);
    });
    socket.once('close', settle);
    socket.on('error', onError);
    socket.on('readable', onReadable);
  }
}

async function addressesOf(host: string): Promise<string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

function read(socket: Socket): Buffer | null {
  return socket.read() as Buffer | null;
}
