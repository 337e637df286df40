import { connect, createServer, type AddressInfo, type Server } from 'node:net';

import { CairnError } from '@cairn/base';
import type { Connection, Listener, Transport } from '@cairn/ports';

import { FrameRoom } from './frame-room.js';
import { FrameTurns } from './frame-turns.js';
import { connectionsFor, openFilesMax } from './open-files.js';
import { TcpConnection, type TcpLimits } from './tcp-connection.js';

const DEFAULTS: TcpLimits = {
  highWaterBytes: 8 * 1024 * 1024,
  lowWaterBytes: 2 * 1024 * 1024,
  queuedBytesMax: 256 * 1024 * 1024,
  connectTimeoutMs: 3000,
  assemblyBytesMax: 512 * 1024 * 1024,
};

/** Framed connections over TCP. Addresses are `host:port` or `[v6]:port`; port 0 listens on a free one. */
export class TcpTransport implements Transport {
  readonly connectionsMax?: number;
  readonly #limits: TcpLimits;
  readonly #assembly: FrameRoom;
  readonly #turns = new FrameTurns();

  constructor(options: Partial<TcpLimits> = {}, openFiles = openFilesMax()) {
    const connectionsMax = connectionsFor(openFiles);
    if (connectionsMax !== undefined) this.connectionsMax = connectionsMax;
    this.#limits = { ...DEFAULTS, ...options };
    this.#assembly = new FrameRoom(this.#limits.assemblyBytesMax);
  }

  get #around(): ConstructorParameters<typeof TcpConnection>[2] {
    return { limits: this.#limits, assembly: this.#assembly, turns: this.#turns };
  }

  /** Bytes held for frames that have not arrived whole, of all connections. */
  get assemblyBytes(): number {
    return this.#assembly.used;
  }

  /**
   * Rejects with FAILED_PRECONDITION when the address cannot be listened on, INVALID_ARGUMENT when it is
   * none.
   */
  async listen(address: string, onConnection: (connection: Connection) => void): Promise<Listener> {
    const { host, port } = parseAddress(address);
    const server = createServer({ noDelay: true }, (socket) => {
      const remote = formatAddress(socket.remoteAddress ?? 'unknown', socket.remotePort ?? 0);
      onConnection(new TcpConnection(socket, remote, this.#around));
    });
    await listening(server, host, port);
    const bound = server.address() as AddressInfo;
    return {
      address: formatAddress(host === '' ? bound.address : host, bound.port),
      close: () => stopListening(server),
    };
  }

  connect(address: string): Connection {
    const { host, port } = parseAddress(address);
    const socket = connect({ host, port });
    return new TcpConnection(socket, address, this.#around);
  }
}

function listening(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const address = formatAddress(host, port);
      const message =
        error.code === 'EADDRINUSE'
          ? `${address} is in use by another process: stop it, or choose another address`
          : `cannot listen on ${address}: ${error.message}`;
      reject(new CairnError('FAILED_PRECONDITION', message, { cause: error }));
    });
    server.listen(port, host, () => {
      resolve();
    });
  });
}

/** Connections that were accepted belong to who accepted them, so this does not wait for them. */
function stopListening(server: Server): Promise<void> {
  server.close();
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Throws INVALID_ARGUMENT for anything but `host:port` and `[v6]:port`. */
export function parseAddress(address: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.%a-z]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(address);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new CairnError('INVALID_ARGUMENT', `"${address}" is not an address: host:port is wanted`);
  }
  return { host: match[1] ?? match[2] ?? '', port };
}
