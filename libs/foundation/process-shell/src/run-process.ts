import { constants } from 'node:os';

import { messageOf, printableLines } from '@cairn/base';
import { assertNodeVersion, textAsked, type ConfigSchema } from '@cairn/config';
import { NodeClock, NodeDisk, NodeRng, TcpTransport, endOnUncaught, takeWarnings } from '@cairn/runtime-node';
import type { z } from 'zod';

import type { ProcessKind, ShellConfig } from './process-kind.js';
import { startProcess } from './start-process.js';
import { StoppedWhileStarting } from './stopped-while-starting.js';

/** A start that is told to stop ends this late at most: a second more than telemetry takes at a shutdown. */
const ABANDON_TIMEOUT_MS = 3_000;

/**
 * Makes this process one of a kind, until SIGTERM or SIGINT stops it: with status 0, or that of the signal
 * (143, 130) when it was still starting or is told a second time. Ends it with status 1 and a sentence when
 * it cannot start or go on. The last line of a `main.ts`.
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
  const stopping = takeSignals();
  let isStarting = true;
  stopping.addEventListener('abort', () => {
    setTimeout(() => {
      if (isStarting) process.exit(statusOf(stopping.reason));
    }, ABANDON_TIMEOUT_MS);
  });
  const started = await startProcess(kind, {
    ...{ argv, env: process.env, onUncaught: endOnUncaught, onWarning: takeWarnings, stopping },
    ports: {
      clock: new NodeClock(),
      rng: new NodeRng(),
      disk: new NodeDisk(),
      transport: new TcpTransport(),
    },
  }).catch((error: unknown) => {
    // Not 0: a supervisor would take it for a process that had been serving.
    if (error instanceof StoppedWhileStarting) process.exit(statusOf(error.signal));
    throw error;
  });
  isStarting = false;
  const stop = (): void => {
    started.stop(String(stopping.reason)).then(() => process.exit(0), fail);
  };
  if (stopping.aborted) stop();
  else stopping.addEventListener('abort', stop);
  fail(await started.failed);
}

/**
 * Aborted by the first signal that asks for a stop, with its name. A second one ends the process at once.
 * Both for as long as the process runs: for process 1 of a container a signal without a listener does
 * nothing.
 */
function takeSignals(): AbortSignal {
  const told = new AbortController();
  const take = (signal: string): void => {
    if (told.signal.aborted) process.exit(statusOf(signal));
    told.abort(signal);
  };
  process.on('SIGTERM', take);
  process.on('SIGINT', take);
  return told.signal;
}

/** As a shell tells of a process that a signal ended. */
function statusOf(signal: unknown): number {
  return 128 + (signal === 'SIGINT' ? constants.signals.SIGINT : constants.signals.SIGTERM);
}
