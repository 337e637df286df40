import { messageOf } from '@cairn/base';
import { assertNodeVersion, shardConfig, textAsked } from '@cairn/config';
import { NodeClock, NodeDisk, NodeRng, TcpTransport, endOnUncaught, takeWarnings } from '@cairn/runtime-node';

import { nodeOpener } from './open-node.js';
import { startShardProcess } from './shard-process.js';

/** One shard node as a process. Ends with status 1 and a sentence when it cannot start or go on. */
async function main(): Promise<void> {
  assertNodeVersion(process.versions.node);
  const argv = process.argv.slice(2);
  const asked = textAsked(shardConfig, argv);
  if (asked !== undefined) {
    process.stdout.write(asked);
    return;
  }
  const clock = new NodeClock();
  const rng = new NodeRng();
  const started = await startShardProcess({
    argv,
    env: process.env,
    onUncaught: endOnUncaught,
    onWarning: takeWarnings,
    clock,
    rng,
    openNode: nodeOpener({ clock, rng, disk: new NodeDisk(), transport: new TcpTransport() }),
  });
  const stop = (signal: string): void => {
    started.stop(signal).then(() => process.exit(0), fail);
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  fail(await started.failed);
}

function fail(error: unknown): void {
  process.stderr.write(`cairn-shard: ${messageOf(error)}\n`);
  process.exit(1);
}

main().catch(fail);
