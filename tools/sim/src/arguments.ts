import { LOADS, type LoadName } from '@cairn/workloads';

import { SIM_ENGINES, type SimEngineKind } from './node-engine.js';

export interface Arguments {
  readonly from: number;
  readonly to: number;
  readonly minutes: number;
  /** undefined: by the seed, see `engineOf`. */
  readonly engine: SimEngineKind | undefined;
  /** undefined: the ordinary load, and what the seed draws beside it. */
  readonly workload: LoadName | 'all' | undefined;
  readonly json: boolean;
  readonly logLines: number;
}

export const USAGE = `usage: npm run sim -- [options]

Runs whole clusters on virtual time, one for each seed, and judges what they did.

  --seeds A..B   which seeds, or one (1..20)
  --minutes M    begin no further seed after so long
  --engine NAME  ${SIM_ENGINES.join(', ')}; by default every fourth seed runs on classic-level, and of the
                 others about half each on the first two
  --workload NAME  nothing but this load of transactions: ${LOADS.join(', ')};
                 all = each of them in turn
  --log LINES    show the last lines of all nodes: of a seed that failed, or of one that runs alone
  --json         one JSON object per seed
  --mutants      plant the deliberate defects, and look whether the seeds of the table show them
  --coverage     which branches of the consensus core the seeds reach
  --failover N   measure N losses of a leader

The exit code is 1 when a seed failed, 2 for bad arguments.`;

/** @throws Error with a sentence and the usage. */
export function parseArguments(argv: readonly string[]): Arguments {
  let [from, to, minutes, json, logLines] = [1, 20, Number.POSITIVE_INFINITY, false, 0];
  let engine: SimEngineKind | undefined;
  let workload: LoadName | 'all' | undefined;
  for (let at = 0; at < argv.length; at += 1) {
    const flag = argv[at] ?? '';
    if (flag === '--json') {
      json = true;
      continue;
    }
    const text = argv[(at += 1)] ?? '';
    switch (flag) {
      case '--seeds':
        [from, to] = seedsOf(text);
        break;
      case '--minutes':
        minutes = Number(text);
        if (!(minutes > 0)) throw bad(`--minutes must be a number above 0, not "${text}"`);
        break;
      case '--engine':
        engine = SIM_ENGINES.find((name) => name === text);
        if (engine === undefined) throw bad(`--engine takes one of ${SIM_ENGINES.join(', ')}, not "${text}"`);
        break;
      case '--workload':
        workload = text === 'all' ? text : LOADS.find((name) => name === text);
        if (workload === undefined)
          throw bad(`--workload takes all, or one of ${LOADS.join(', ')}, not "${text}"`);
        break;
      case '--log':
        logLines = Number(text);
        if (!(Number.isInteger(logLines) && logLines > 0))
          throw bad(`--log takes a number of lines, not "${text}"`);
        break;
      default:
        throw bad(`${flag} is not an option`);
    }
  }
  return { from, to, minutes, engine, workload, json, logLines };
}

/** One seed in so many runs on LevelDB. */
const SEEDS_PER_LEVEL_SEED = 4;

/** The engine of a seed when nobody names one; undefined = drawn from the seed with the rest of its shape. */
export function engineOf(seed: number): SimEngineKind | undefined {
  return seed % SEEDS_PER_LEVEL_SEED === 0 ? 'classic-level' : undefined;
}

/** The load of a seed when each of them is asked for in turn. */
export function loadOf(workload: LoadName | 'all', seed: number): LoadName {
  // A step further in each turn: otherwise each load would be on the same engines always.
  const at = (seed + Math.floor(seed / LOADS.length)) % LOADS.length;
  return workload === 'all' ? (LOADS[at] as LoadName) : workload;
}

function seedsOf(text: string): [number, number] {
  const match = /^(\d+)(?:\.\.(\d+))?$/.exec(text);
  if (match === null) throw bad(`--seeds takes a number or A..B, not "${text}"`);
  const [from, to] = [Number(match[1]), Number(match[2] ?? match[1])];
  if (to < from) throw bad(`--seeds ${text} ends before it begins`);
  return [from, to];
}

function bad(sentence: string): Error {
  return new Error(`${sentence}\n\n${USAGE}`);
}
