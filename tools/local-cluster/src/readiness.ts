import { messageOf } from '@cairn/base';
import { httpGet } from './http-get.js';
import type { NodePlan } from './layout.js';

/** Why a node is not ready; undefined when it is. */
export async function notReadyReason(node: NodePlan, timeoutMs = 2_000): Promise<string | undefined> {
  try {
    const { status, body } = await httpGet(node.httpAddress, '/readyz', timeoutMs);
    if (status === 200) return undefined;
    const { reasons } = JSON.parse(body) as { reasons?: readonly string[] };
    return reasons === undefined || reasons.length === 0 ? `answers ${status}` : reasons.join('; ');
  } catch (error) {
    const message = messageOf(error);
    return message.includes('ECONNREFUSED') ? 'starting' : message;
  }
}

/** Nodes that are not ready, with the reason. */
export async function notReady(nodes: readonly NodePlan[]): Promise<Map<string, string>> {
  const reasons = await Promise.all(
    nodes.map(async (node) => [node.name, await notReadyReason(node)] as const),
  );
  return new Map(reasons.filter((entry): entry is [string, string] => entry[1] !== undefined));
}
