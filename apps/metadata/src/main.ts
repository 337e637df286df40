import { messageOf } from '@cairn/base';
import { assertNodeVersion, metadataConfig, textAsked } from '@cairn/config';
import { NodeClock, NodeDisk, NodeRng, TcpTransport, endOnUncaught, takeWarnings } from '@cairn/runtime-node';

import { startMetadataProcess } from './metadata-process.js';
import { memberOpener } from './open-member.js';

/**
 * One member of the metadata service as a process. Ends with status 1 and a sentence when it cannot start or
 * go on.
 */
async function main(): Promise<void> {
  assertNodeVersion(process.versions.node);
  const argv = process.argv.slice(2);
  const asked = textAsked(metadataConfig, argv);
  if (asked !== undefined) {
    process.stdout.write(asked);
    return;
  }
  const clock = new NodeClock();
  const rng = new NodeRng();
  const started = await startMetadataProcess({
    argv,
    env: process.env,
    onUncaught: endOnUncaught,
    onWarning: takeWarnings,
    clock,
    rng,
    openMember: memberOpener({ clock, rng, disk: new NodeDisk(), transport: new TcpTransport() }),
  });
  const stop = (signal: string): void => {
    started.stop(signal).then(() => process.exit(0), fail);
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  fail(await started.failed);
}

function fail(error: unknown): void {
  process.stderr.write(`cairn-metadata: ${messageOf(error)}\n`);
  process.exit(1);
}

main().catch(fail);
