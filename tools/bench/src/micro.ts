import { globSync, readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CairnError, type MicroBenchmark } from '@cairn/base';
import { booleanField, integerField, textField, type ConfigDefinition } from '@cairn/config';
import { z } from 'zod';
import type { Experiment } from './experiment.js';
import { timeBenchmark, type MicroResult } from './micro-timing.js';
import { EXIT } from './stage.js';
import { columns, showNumber } from './tables.js';

const ROOT = join(import.meta.dirname, '../../..');
const FILES = '{libs,apps,tools}/*/src/**/*.bench.ts';

/** Flags of `npm run bench -- micro`. */
const microSchema = z.object({
  filter: textField({
    description: 'Only benchmarks with this in their file or name; can be given without the flag.',
    default: '',
  }),
  rounds: integerField({ description: 'Rounds of each; medians are shown.', default: 7, min: 1, max: 1_000 }),
  roundMs: integerField({
    description: 'Milliseconds of each round.',
    default: 200,
    min: 1,
    max: 60_000,
  }),
  json: booleanField({ description: 'One JSON object per line instead of the table.', default: false }),
});

const microConfig: ConfigDefinition<typeof microSchema> = {
  name: 'npm run bench -- micro',
  summary: 'Times hot code by itself: nanoseconds per operation.',
  schema: microSchema,
};

/**
 * Whether a file keeps the convention. Others of that name are programs of their own, which loading would
 * start.
 */
export function makesBenchmarks(source: string): boolean {
  return /^export (?:async )?function benchmarks\(/m.test(source);
}

/** The compiled form of a source file: what runs in production. */
function compiledPath(source: string): string {
  return join(ROOT, source.replace(`${sep}src${sep}`, `${sep}dist${sep}`).replace(/\.ts$/, '.js'));
}

function isBenchmark(value: unknown): value is MicroBenchmark {
  const found = value as Partial<MicroBenchmark> | null;
  return typeof found?.name === 'string' && typeof found.run === 'function' && Number(found.operations) > 0;
}

/** @throws CairnError `FAILED_PRECONDITION` when the file does not keep the convention. */
async function benchmarksOf(path: string): Promise<MicroBenchmark[]> {
  const loaded = (await import(pathToFileURL(path).href)) as { readonly benchmarks?: unknown };
  if (typeof loaded.benchmarks === 'function') {
    const made: unknown = await (loaded.benchmarks as () => unknown)();
    if (Array.isArray(made) && made.every(isBenchmark)) return made;
  }
  throw new CairnError('FAILED_PRECONDITION', `${path} exports no function that makes benchmarks.`);
}

function show(results: readonly (MicroResult & { readonly file: string })[]): string {
  const rows = results.map(({ file, name, nsPerOperation, spread }) => [
    `${file}: ${name}`,
    showNumber(nsPerOperation),
    spread.map(showNumber).join('..'),
  ]);
  return `${columns([['', 'ns per operation', 'min..max'], ...rows]).join('\n')}\n`;
}

/** `npm run bench -- micro`. */
export const micro: Experiment<typeof microSchema> = {
  config: microConfig,
  async run(stage, config) {
    const results: (MicroResult & { file: string })[] = [];
    for (const path of globSync(FILES, { cwd: ROOT }).sort()) {
      if (!makesBenchmarks(readFileSync(join(ROOT, path), 'utf8'))) continue;
      const file = path.split(sep).join('/');
      for (const benchmark of await benchmarksOf(compiledPath(path))) {
        if (!`${file} ${benchmark.name}`.includes(config.filter)) continue;
        if (stage.signal.aborted) return EXIT.interrupted;
        const result = { file, ...(await timeBenchmark(benchmark, config)) };
        stage.say(`  ${file}: ${result.name}, ${showNumber(result.nsPerOperation)} ns`);
        results.push(result);
      }
    }
    if (results.length === 0) {
      stage.say(`No benchmark has ${JSON.stringify(config.filter)} in its file or name.`);
      return EXIT.failed;
    }
    if (config.json) for (const result of results) stage.out(`${JSON.stringify(result)}\n`);
    else stage.out(`\n${show(results)}`);
    return EXIT.measured;
  },
};
