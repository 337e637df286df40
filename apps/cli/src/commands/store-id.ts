import { NodeKind, type CairnClient } from '@cairn/client';
import type { CommandContext } from '../context.js';
import { UsageError } from '../exit-codes.js';

/**
 * The store that an operator means by a name or an id; a name that looks like an id is taken for one. Throws
 * a `UsageError` for a name that no shard node has.
 */
export async function storeIdOf(client: CairnClient, context: CommandContext, name: string): Promise<number> {
  if (/^[1-9]\d{0,8}$/.test(name)) return Number(name);
  const nodes = await client.nodes({ signal: context.io.signal });
  const found = nodes.find((node) => node.kind === NodeKind.SHARD && node.name === name);
  if (found === undefined) throw new UsageError(`there is no shard node "${name}"; see: cairn nodes`);
  return found.storeId;
}
