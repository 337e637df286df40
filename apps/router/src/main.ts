import { messageOf } from '@cairn/base';
import { assertNodeVersion, routerConfig, textAsked } from '@cairn/config';
import { NodeClock, NodeRng, TcpTransport, endOnUncaught, takeWarnings } from '@cairn/runtime-node';

import { startRouterProcess } from './router-process.js';

/** One router as a process. Ends with status 1 and a sentence when it cannot start or go on. */
async function main(): Promise<void> {
  assertNodeVersion(process.versions.node);
  const argv = process.argv.slice(2);
  const asked = textAsked(routerConfig, argv);
  if (asked !== undefined) {
    process.stdout.write(asked);
    return;
  }
  const started = await startRouterProcess({
    argv,
    env: process.env,
    onUncaught: endOnUncaught,
    onWarning: takeWarnings,
    clock: new NodeClock(),
    rng: new NodeRng(),
    transport: new TcpTransport(),
  });
  const stop = (signal: string): void => {
    started.stop(signal).then(() => process.exit(0), fail);
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  fail(await started.failed);
}

function fail(error: unknown): void {
  process.stderr.write(`cairn-router: ${messageOf(error)}\n`);
  process.exit(1);
}

main().catch(fail);
