import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';

import type { Mutant } from './mutant.js';
import { Baseline, judgeMutant, type Verdict } from './runner.js';
import { MUTANTS } from './table.js';

/** Time for one defect, so that one that is missed does not take the time of the others. */
const MINUTES_PER_MUTANT = 2;
/** Turns after which all were looked for. */
const TURNS = 5;

interface MutantArguments {
  /** Names; empty = all. */
  readonly only: readonly string[];
  readonly from: number;
  readonly to: number;
  /** Only every `TURNS`th of the table. */
  readonly turn: number | undefined;
  /** For all of them together. */
  readonly minutes: number;
  readonly json: boolean;
}

function cells(mutant: Mutant, verdict: Verdict): string[] {
  switch (verdict.type) {
    case 'caught': {
      const { by, seed, atMs } = verdict.first;
      return [mutant.name, by, seed, `${(atMs / 1000).toFixed(1)} s`];
    }
    case 'missed':
      return [mutant.name, 'MISSED', `${verdict.seeds} seeds`, ''];
    case 'unsound':
      return [mutant.name, 'FAILS WITHOUT IT', verdict.seed, verdict.message.slice(0, 120)];
    case 'broken':
      return [mutant.name, 'DOES NOT RUN', '', verdict.message.slice(0, 200)];
  }
}

function row(values: readonly string[]): string {
  const widths = [32, 22, 10, 12];
  return `${values
    .map((value, at) => value.padEnd(widths[at] ?? 0))
    .join(' | ')
    .trimEnd()}\n`;
}

function jsonLine({ name }: Mutant, verdict: Verdict): string {
  return `${JSON.stringify({ mutant: name, ...verdict })}\n`;
}

/** In the order of the table. */
function chosenOf({ only, turn }: Pick<MutantArguments, 'only' | 'turn'>): readonly Mutant[] {
  return MUTANTS.filter(({ name }, at) => {
    if (only.length > 0) return only.includes(name);
    return turn === undefined || at % TURNS === turn % TURNS;
  });
}

/** Runs every mutant that was asked for and prints what caught it; 0 only when all were caught. */
async function runMutants(options: MutantArguments): Promise<number> {
  const chosen = chosenOf(options);
  const unknown = options.only.filter((name) => !MUTANTS.some((mutant) => mutant.name === name));
  if (unknown.length > 0) throw new Error(`there is no mutant ${unknown.join(', ')}`);
  const startedMs = performance.now();
  const endMs = startedMs + options.minutes * 60_000;
  const baseline = new Baseline();
  let caught = 0;
  if (!options.json) process.stdout.write(row(['mutant', 'caught by', 'seed', 'virtual time']));
  const waiting = [...chosen.entries()];
  const verdicts: (Verdict | undefined)[] = [];
  let told = 0;
  const judgeNext = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [at, judged] = next;
      const until = Math.min(endMs, performance.now() + MINUTES_PER_MUTANT * 60_000);
      const { from, to } = options;
      verdicts[at] = await judgeMutant(judged, baseline, { from, to, endMs: until });
      // In the order of the table, whichever ends first.
      for (; ; told += 1) {
        const [mutant, verdict] = [chosen[told], verdicts[told]];
        if (mutant === undefined || verdict === undefined) break;
        if (verdict.type === 'caught') caught += 1;
        process.stdout.write(options.json ? jsonLine(mutant, verdict) : row(cells(mutant, verdict)));
      }
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, judgeNext));
  if (!options.json) {
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
    process.stdout.write(`${caught} of ${chosen.length} caught in ${seconds} s\n`);
  }
  return caught === chosen.length ? 0 : 1;
}

/** `--mutants [--only NAME,..] [--turn N] [--seeds A..B] [--minutes M] [--json]`; throws for anything else. */
export function mutantsMain(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      mutants: { type: 'boolean' },
      only: { type: 'string', default: '' },
      turn: { type: 'string' },
      seeds: { type: 'string', default: '1..120' },
      minutes: { type: 'string', default: '10' },
      json: { type: 'boolean', default: false },
    },
  });
  const seeds = /^(\d+)(?:\.\.(\d+))?$/.exec(values.seeds);
  const minutes = Number(values.minutes);
  const turn = values.turn === undefined ? undefined : Number(values.turn);
  if (seeds === null || !(minutes > 0)) throw new Error('--seeds A..B, --minutes above 0');
  if (turn !== undefined && !Number.isSafeInteger(turn)) throw new Error('--turn is a whole number');
  return runMutants({
    only: values.only.split(',').filter((name) => name !== ''),
    from: Number(seeds[1]),
    to: Number(seeds[2] ?? seeds[1]),
    turn,
    minutes,
    json: values.json,
  });
}
