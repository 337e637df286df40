import { parseArgs } from 'node:util';
import { messageOf } from '@cairn/base';

import { runSoak, type SoakOptions, type SoakResult } from './run.js';

/** 0: no slopes. */
const EXIT = { held: 0, violated: 1, usage: 2, failed: 3 } as const;

const USAGE = `usage: npm run soak -- [--minutes M] [--clients N] [--seed S] [--json]
  by default 60 minutes, 4 clients and seed 1; below half an hour caches are still filling`;

type ParsedOptions = Omit<SoakOptions, 'say' | 'signal'> & { readonly isJson: boolean };

function parseOptions(argv: readonly string[]): ParsedOptions {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...argv],
    options: { minutes: text, clients: text, seed: text, json: { type: 'boolean' } },
  });
  const minutes = Number(values.minutes ?? 60);
  if (!(minutes > 0) || minutes > 10_000) throw new Error(`--minutes must be above 0, not ${values.minutes}`);
  const clients = Number(values.clients ?? 4);
  if (!Number.isInteger(clients) || clients < 1 || clients > 64) {
    throw new Error(`--clients must be a whole number from 1 to 64, not ${values.clients}`);
  }
  return { minutes, clients, seed: values.seed ?? '1', isJson: values.json === true };
}

function show(result: SoakResult): string {
  return [
    `${result.cycles} cycles, ${result.operations} operations, ${result.failed} failed`,
    ...Object.entries(result.measures).map(([name, { trend }]) => {
      const growth = `${(trend.growth * 100).toFixed(1)} %`;
      const text = `median ${trend.median.toFixed(1)}, ${growth} over the run, z ${trend.z.toFixed(1)}`;
      return `  ${name.padEnd(8)} ${text}`;
    }),
    ...result.failures.slice(0, 5).map((text) => `  failed: ${text}`),
    ...(result.violations.length === 0 ? ['held'] : result.violations.map((text) => `VIOLATED  ${text}`)),
  ].join('\n');
}

async function main(argv: readonly string[]): Promise<number> {
  if (argv.includes('--help')) {
    process.stdout.write(`${USAGE}\n`);
    return EXIT.held;
  }
  let options: ParsedOptions;
  try {
    options = parseOptions(argv);
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n${USAGE}\n`);
    return EXIT.usage;
  }
  const stopping = new AbortController();
  process.once('SIGINT', () => stopping.abort());
  process.once('SIGTERM', () => stopping.abort());
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  try {
    const result = await runSoak({ ...options, say, signal: stopping.signal });
    process.stdout.write(`${options.isJson ? JSON.stringify(result) : show(result)}\n`);
    return result.violations.length === 0 ? EXIT.held : EXIT.violated;
  } catch (error) {
    say(`the run could not be made: ${error instanceof Error ? (error.stack ?? '') : messageOf(error)}`);
    return EXIT.failed;
  }
}

process.exitCode = await main(process.argv.slice(2));
// A client or a timer that is still there must not keep a finished run alive.
process.exit();
