import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { CairnError } from '@cairn/base';
import type { NodeKind, NodePlan, PortPair } from './layout.js';

/**
 * Below the range that systems hand out to outgoing connections, so that nobody takes one between probe and
 * use.
 */
const FREE_PORT_MIN = 20_000;
const FREE_PORT_MAX = 32_000;
const PROBES_MAX = 400;

/** Tries to listen on the port and lets go of it again. */
export function isPortFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** Distinct free ports, by chance, so that clusters of several test processes do not meet. */
export async function findFreePorts(count: number): Promise<number[]> {
  const found = new Set<number>();
  for (let probe = 0; probe < PROBES_MAX && found.size < count; probe += 1) {
    const port = randomInt(FREE_PORT_MIN, FREE_PORT_MAX);
    if (!found.has(port) && (await isPortFree(port))) found.add(port);
  }
  if (found.size < count) {
    throw new CairnError(
      'UNAVAILABLE',
      `only ${found.size} of ${count} free ports found after ${PROBES_MAX} probes`,
    );
  }
  return [...found];
}

/** Free ports for every node of a plan. */
export async function freePortsFor(nodes: number): Promise<(kind: NodeKind, index: number) => PortPair> {
  const ports = await findFreePorts(nodes * 2);
  return () => ({ port: ports.pop() ?? 0, httpPort: ports.pop() ?? 0 });
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

/** Each port that is taken, with the node that wants it. */
export async function takenPorts(nodes: readonly NodePlan[]): Promise<{ port: number; name: string }[]> {
  const taken: { port: number; name: string }[] = [];
  for (const node of nodes) {
    for (const address of [node.address, node.httpAddress]) {
      const port = portOf(address);
      if (!(await isPortFree(port))) taken.push({ port, name: node.name });
    }
  }
  return taken;
}
