import { messageOf, printableLines } from '@cairn/base';
import { assertNodeVersion, textAsked, type ConfigSchema } from '@cairn/config';
import { NodeClock, NodeDisk, NodeRng, TcpTransport, endOnUncaught, takeWarnings } from '@cairn/runtime-node';
import type { z } from 'zod';

import type { ProcessKind, ShellConfig } from './process-kind.js';
import { startProcess } from './start-process.js';

/**
 * Makes this process one of a kind, until a signal stops it. Ends it with status 1 and a sentence when it
 * cannot start or go on. The last line of a `main.ts`.
 */
export function runProcess<Schema extends ConfigSchema & z.ZodType<ShellConfig>>(
  kind: ProcessKind<Schema>,
): void {
  const fail = (error: unknown): void => {
    process.stderr.write(`${kind.config.name}: ${printableLines(messageOf(error))}\n`);
    process.exit(1);
  };
  run(kind, fail).catch(fail);
}

async function run<Schema extends ConfigSchema & z.ZodType<ShellConfig>>(
  kind: ProcessKind<Schema>,
  fail: (error: unknown) => void,
): Promise<void> {
  assertNodeVersion(process.versions.node);
  const argv = process.argv.slice(2);
  const asked = textAsked(kind.config, argv);
  if (asked !== undefined) {
    process.stdout.write(asked);
    return;
  }
  const started = await startProcess(kind, {
    ...{ argv, env: process.env, onUncaught: endOnUncaught, onWarning: takeWarnings },
    ports: {
      clock: new NodeClock(),
      rng: new NodeRng(),
      disk: new NodeDisk(),
      transport: new TcpTransport(),
    },
  });
  const stop = (signal: string): void => {
    started.stop(signal).then(() => process.exit(0), fail);
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  fail(await started.failed);
}
