import { parseArgs } from 'node:util';
import { messageOf } from '@cairn/base';

import { runFuzz, TARGETS, type FuzzOptions, type FuzzResult, type Target } from './run.js';

/** 0: all held. */
const EXIT = { held: 0, violated: 1, usage: 2, failed: 3 } as const;

const USAGE = `usage: npm run fuzz -- [--minutes M] [--steps N] [--seed S] [--targets a,b] [--json]
  targets: ${TARGETS.join(', ')}; by default all of them for 2 minutes, with a seed by chance`;

function parseOptions(argv: readonly string[]): FuzzOptions & { readonly isJson: boolean } {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...argv],
    options: { minutes: text, steps: text, seed: text, targets: text, json: { type: 'boolean' } },
  });
  const minutes = Number(values.minutes ?? 2);
  if (!(minutes > 0) || minutes > 10_000) throw new Error(`--minutes must be above 0, not ${values.minutes}`);
  const stepsMax = values.steps === undefined ? Infinity : Number(values.steps);
  if (!(stepsMax >= 1)) throw new Error(`--steps must be 1 or more, not ${values.steps}`);
  const targets = (values.targets?.split(',') ?? TARGETS) as readonly Target[];
  const unknown = targets.find((target) => !TARGETS.includes(target));
  if (unknown !== undefined) throw new Error(`${unknown} is not a target; there are ${TARGETS.join(', ')}`);
  const seed = values.seed ?? String(Date.now() % 1_000_000);
  return { seed, durationMs: minutes * 60_000, stepsMax, targets, isJson: values.json === true };
}

function show(result: FuzzResult): string {
  const { bystander, memory, counts } = result;
  return [
    `seed ${result.seed}, ${result.steps} steps`,
    ...counts.map(([name, count]) => `  ${name.padEnd(40)} ${count}`),
    `bystander: ${bystander.operations} operations, p99 ${bystander.p99BeforeMs.toFixed(1)} ms before, ` +
      `${bystander.p99Ms.toFixed(1)} ms while it lasted`,
    ...Object.entries(memory).map(
      ([name, [before, most, after]]) => `  ${name.padEnd(12)} ${before} MiB, at most ${most}, then ${after}`,
    ),
    ...(result.violations.length === 0 ? ['held'] : result.violations.map((text) => `VIOLATED  ${text}`)),
  ].join('\n');
}

async function main(argv: readonly string[]): Promise<number> {
  if (argv.includes('--help')) {
    process.stdout.write(`${USAGE}\n`);
    return EXIT.held;
  }
  let options: ReturnType<typeof parseOptions>;
  try {
    options = parseOptions(argv);
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n${USAGE}\n`);
    return EXIT.usage;
  }
  const stopping = new AbortController();
  process.once('SIGINT', () => stopping.abort());
  process.once('SIGTERM', () => stopping.abort());
  try {
    const say = (text: string): void => void process.stderr.write(`${text}\n`);
    const result = await runFuzz({ ...options, say, signal: stopping.signal });
    process.stdout.write(`${options.isJson ? JSON.stringify(result) : show(result)}\n`);
    return result.violations.length === 0 ? EXIT.held : EXIT.violated;
  } catch (error) {
    process.stderr.write(
      `the run could not be made: ${error instanceof Error ? (error.stack ?? '') : messageOf(error)}\n`,
    );
    return EXIT.failed;
  }
}

process.exitCode = await main(process.argv.slice(2));
// A client or a timer that is still there must not keep a finished run alive.
process.exit();
