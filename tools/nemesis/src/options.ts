import { parseArgs } from 'node:util';
import { CairnError, messageOf } from '@cairn/base';

/** What can strike. */
export const FAULTS = [
  ...(['kill', 'terminate', 'pause-short', 'pause-long', 'kill-all', 'flip-log', 'flip-engine'] as const),
  ...(['cut', 'deaf', 'mute', 'partition', 'slow', 'flap', 'disk-full'] as const),
] as const;
export type FaultName = (typeof FAULTS)[number];

export const NETWORKS = ['netns', 'proxy', 'none'] as const;
export type NetworkKind = (typeof NETWORKS)[number];

/** Storage engines of shard nodes that leave files behind. */
export const ENGINES = ['lsm', 'classic-level'] as const;
export type EngineName = (typeof ENGINES)[number];

/**
 * What strikes when nobody names faults. The binding of LevelDB has no checks of blocks in its merges: a byte
 * that is flipped in one table may be merged into others, where nothing puts it right and rows that it hides
 * stay hidden. So of that engine no node can be expected to be whole again afterwards.
 */
function faultsOf(engine: EngineName): readonly FaultName[] {
  return engine === 'classic-level' ? FAULTS.filter((name) => name !== 'flip-engine') : FAULTS;
}

/** What `npm run nemesis` was asked for. */
export interface NemesisOptions {
  /** For how long faults strike. */
  readonly minutes: number;
  readonly seed: string;
  readonly faults: readonly FaultName[];
  /** Undefined: the best that this machine allows. */
  readonly network: NetworkKind | undefined;
  readonly engine: EngineName;
  readonly metadata: number;
  readonly shards: number;
  readonly routers: number;
  /** Clients of the workload. */
  readonly clients: number;
  readonly json: boolean;
  /** Keep logs, data and history also when all held. */
  readonly keep: boolean;
}

export const USAGE = `usage: npm run nemesis -- [--minutes M] [--seed S] [--faults a,b]
         [--network netns|proxy|none] [--engine ${ENGINES.join('|')}] [--metadata N]
         [--shards N] [--routers N] [--clients N] [--json] [--keep]
  faults: ${FAULTS.slice(0, 7).join(', ')},
          ${FAULTS.slice(7).join(', ')}`;

const DEFAULTS = { minutes: 2, metadata: 3, shards: 3, routers: 2, clients: 8 } as const;

function refuse(text: string): never {
  throw new CairnError('INVALID_ARGUMENT', text);
}

function numberOf(name: keyof typeof DEFAULTS, text: string | undefined): number {
  const value = text === undefined ? DEFAULTS[name] : Number(text);
  if (!(value > 0) || value > 10_000) refuse(`--${name} must be a number above 0, not ${String(text)}`);
  if (name !== 'minutes' && !Number.isInteger(value)) refuse(`--${name} must be a whole number`);
  return value;
}

function oneOf<Choice extends string>(what: string, choices: readonly Choice[], text: string): Choice {
  const found = choices.find((choice) => choice === text);
  return found ?? refuse(`${text} is not a known ${what}; there are ${choices.join(', ')}`);
}

function flagsOf(argv: readonly string[]): Readonly<Record<string, string | boolean | undefined>> {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  try {
    return parseArgs({
      args: [...argv],
      options: {
        ...{ minutes: text, seed: text, faults: text, network: text, metadata: text, shards: text },
        ...{ engine: text, routers: text, clients: text, json: flag, keep: flag },
      },
    }).values;
  } catch (error) {
    return refuse(messageOf(error));
  }
}

/**
 * Reads the arguments after the name of the script.
 *
 * @throws CairnError `INVALID_ARGUMENT` with a sentence.
 */
export function parseOptions(argv: readonly string[]): NemesisOptions {
  const flags = flagsOf(argv);
  const textOf = (name: string): string | undefined => {
    const value = flags[name];
    return typeof value === 'string' ? value : undefined;
  };
  const count = (name: keyof typeof DEFAULTS): number => numberOf(name, textOf(name));
  const metadata = count('metadata');
  if (metadata % 2 === 0) refuse(`--metadata must be odd, not ${metadata}`);
  const network = textOf('network');
  const faults = textOf('faults')?.split(',');
  const engine = oneOf('engine', ENGINES, textOf('engine') ?? 'lsm');
  return {
    minutes: count('minutes'),
    // Not in the arguments: any seed will do, and the run says which one it had.
    seed: textOf('seed') ?? String(Date.now() % 1_000_000),
    faults: faults === undefined ? faultsOf(engine) : faults.map((name) => oneOf('fault', FAULTS, name)),
    network: network === undefined ? undefined : oneOf('network', NETWORKS, network),
    engine,
    metadata,
    shards: count('shards'),
    routers: count('routers'),
    clients: count('clients'),
    json: flags['json'] === true,
    keep: flags['keep'] === true,
  };
}
