import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { findFreePorts, type NodePlacement } from '@cairn/local-cluster';
import type { Break, FaultyNetwork } from './network.js';

const HOST = '127.0.0.1';
const SLOW_MS = 60;

interface Flow {
  isHeld: boolean;
  delayMs: number;
}

/** Passes the bytes of every connection to one node on, or holds them, per direction. */
class NodeProxy {
  readonly address: string;
  /** Where the node listens; known before it starts. */
  target = '';
  readonly toNode: Flow = { isHeld: false, delayMs: 0 };
  readonly fromNode: Flow = { isHeld: false, delayMs: 0 };
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Continues what was held. */
  readonly #held = new Set<() => void>();

  constructor(port: number) {
    this.address = `${HOST}:${port}`;
    this.#server = createServer({ allowHalfOpen: false }, (outer) => this.#accept(outer));
    this.#server.listen(port, HOST);
  }

  /** Lets go what is not held any more, in order. */
  resume(): void {
    const held = [...this.#held];
    this.#held.clear();
    for (const each of held) each();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #accept(outer: Socket): void {
    const at = this.target.lastIndexOf(':');
    const inner = createConnection({
      host: this.target.slice(0, at),
      port: Number(this.target.slice(at + 1)),
      noDelay: true,
    });
    outer.setNoDelay(true);
    for (const [socket, other] of [
      [outer, inner],
      [inner, outer],
    ] as const) {
      this.#sockets.add(socket);
      // The other end hears of it as a connection that broke; why does not matter.
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    void this.#pump(outer, inner, this.toNode);
    void this.#pump(inner, outer, this.fromNode);
  }

  async #pump(from: Socket, to: Socket, flow: Flow): Promise<void> {
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        if (flow.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, flow.delayMs));
        while (flow.isHeld) await new Promise<void>((resolve) => this.#held.add(resolve));
        if (!to.write(chunk))
          await new Promise((resolve) => to.once('drain', resolve).once('close', resolve));
      }
    } catch {
      // A broken connection; its `close` ends the other half.
    }
  }
}

/**
 * A proxy in front of every node, on loopback: others are told its address. It sees connections *to* its
 * node, so breaks concern those alone: whom the node itself calls, it still reaches, and hears from on those
 * connections. That makes every break a lopsided one. Partitions between groups need to know who calls, and
 * are not there.
 */
export class ProxyNetwork implements FaultyNetwork {
  readonly kind = 'proxy';
  readonly faults = ['cut', 'deaf', 'mute', 'slow', 'flap'] as const;
  readonly #proxies: ReadonlyMap<string, NodeProxy>;

  private constructor(proxies: ReadonlyMap<string, NodeProxy>) {
    this.#proxies = proxies;
  }

  static async create(nodes: readonly string[]): Promise<ProxyNetwork> {
    const ports = await findFreePorts(nodes.length);
    return new ProxyNetwork(new Map(nodes.map((node, at) => [node, new NodeProxy(ports[at] ?? 0)])));
  }

  readonly place = (name: string, address: string): NodePlacement => {
    const proxy = this.#proxyOf(name);
    proxy.target = address;
    return { advertised: proxy.address };
  };

  async break(how: Break): Promise<void> {
    if (how.kind === 'partition') throw new Error('proxies cannot part groups');
    const { toNode, fromNode } = this.#proxyOf(how.node);
    if (how.kind === 'slow') toNode.delayMs = fromNode.delayMs = SLOW_MS;
    if (how.kind === 'cut' || how.kind === 'deaf') toNode.isHeld = true;
    if (how.kind === 'cut' || how.kind === 'mute') fromNode.isHeld = true;
  }

  async heal(): Promise<void> {
    for (const proxy of this.#proxies.values()) {
      for (const flow of [proxy.toNode, proxy.fromNode]) {
        flow.isHeld = false;
        flow.delayMs = 0;
      }
      proxy.resume();
    }
  }

  async close(): Promise<void> {
    await this.heal();
    await Promise.all([...this.#proxies.values()].map((proxy) => proxy.close()));
  }

  #proxyOf(node: string): NodeProxy {
    const found = this.#proxies.get(node);
    if (found === undefined) throw new Error(`there is no node ${node} in this network`);
    return found;
  }
}
