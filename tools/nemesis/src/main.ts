import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf } from '@cairn/base';
import { mustRun } from './commands.js';
import { parseOptions, USAGE, type NemesisOptions, type NetworkKind } from './options.js';
import { runNemesis, type RunResult } from './run.js';
import { findSandbox, runInside, STOP_MESSAGE } from './sandbox.js';

/** 0: all held. The directory is kept after `violated` only, or when asked for. */
const EXIT = { held: 0, violated: 1, usage: 2, failed: 3, stopped: 130 } as const;

/** Set for the one inside the sandbox: its directory. */
const INSIDE = 'CAIRN_NEMESIS_DIRECTORY';

function show(result: RunResult): string[] {
  const faults = Object.entries(result.faults).map(([name, count]) => `${name} ${count}`);
  const silences = result.silences.map(
    ({ fromMs, lengthMs }) => `${lengthMs} ms from ${(fromMs / 1_000).toFixed(1)} s`,
  );
  return [
    `seed ${result.seed}, engine ${result.engine}, network ${result.network}, faults: ${faults.join(', ')}`,
    `${result.operations} operations, ${result.failed} refused, ${result.unknown} with unknown outcome`,
    `one client waited at most ${result.longestWaitMs} ms; without any success: ${silences.join(', ')}`,
    ...result.verdicts.flatMap(({ checker, holds, looked, findings }) => [
      `${holds ? 'holds   ' : 'VIOLATED'}  ${checker}: ${looked}`,
      ...findings.map((each) => `  ${each}`),
    ]),
  ];
}

async function execute(
  options: NemesisOptions,
  directory: string,
  network: NetworkKind,
  hasMounts: boolean,
): Promise<number> {
  const stopping = new AbortController();
  const stop = (): void => {
    // Whoever asks twice does not want to wait; the nodes go with the process.
    if (stopping.signal.aborted) process.exit(EXIT.stopped);
    stopping.abort();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'disconnect'] as const) process.on(signal, stop);
  process.on('message', (message) => message === STOP_MESSAGE && stop());
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  say(`seed ${options.seed}, ${options.minutes} minutes, directory ${directory}`);
  try {
    const { signal } = stopping;
    const result = await runNemesis(options, { directory, network, hasMounts, say, signal });
    const text = options.json ? JSON.stringify(result) : show(result).join('\n');
    process.stdout.write(`${text}\n`);
    if (result.verdicts.some(({ holds }) => !holds)) {
      say(`logs, data and history: ${directory}`);
      const { minutes, seed, engine } = options;
      say(`again: npm run nemesis -- --minutes ${minutes} --seed ${seed} --engine ${engine}`);
      return EXIT.violated;
    }
    return result.isComplete ? EXIT.held : EXIT.stopped;
  } catch (error) {
    if (stopping.signal.aborted) return EXIT.stopped;
    say(`the run could not be made: ${error instanceof Error ? (error.stack ?? '') : messageOf(error)}`);
    return EXIT.failed;
  }
}

/** Runs inside a sandbox where there can be one, and removes what the run leaves behind. */
async function main(argv: readonly string[]): Promise<number> {
  if (argv.includes('--help')) {
    process.stdout.write(`${USAGE}\n`);
    return EXIT.held;
  }
  let options: NemesisOptions;
  try {
    options = parseOptions(argv);
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n${USAGE}\n`);
    return EXIT.usage;
  }
  const inside = process.env[INSIDE];
  if (inside !== undefined) {
    // A new network namespace has a loopback device, but it is off.
    await mustRun('ip', ['link', 'set', 'lo', 'up']);
    return execute(options, inside, options.network ?? 'netns', true);
  }
  const sandbox = await findSandbox();
  if (sandbox === undefined && options.network === 'netns') {
    process.stderr.write('This machine allows no namespaces. Try --network proxy\n');
    return EXIT.usage;
  }
  const directory = mkdtempSync(join(tmpdir(), 'cairn-nemesis-'));
  const self = fileURLToPath(import.meta.url);
  const code = await (sandbox === undefined
    ? execute(options, directory, options.network ?? 'proxy', false)
    : runInside(sandbox, [self, ...argv, '--seed', options.seed], { [INSIDE]: directory }));
  const isKept = code === EXIT.violated || code === EXIT.failed || (options.keep && code === EXIT.held);
  if (isKept) process.stderr.write(`kept: ${directory}\n`);
  else rmSync(directory, { recursive: true, force: true });
  return code;
}

process.exitCode = await main(process.argv.slice(2));
// A client or a timer that is still there must not keep a finished run alive.
process.exit();
