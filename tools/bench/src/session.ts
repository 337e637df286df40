import { messageOf } from '@cairn/base';
import { loadConfig, textAsked, wantsHelp, type ConfigSchema } from '@cairn/config';
import { against } from './against.js';
import { comparison } from './comparison.js';
import type { Experiment } from './experiment.js';
import { growth } from './growth.js';
import { micro } from './micro.js';
import { overload } from './overload.js';
import { EXIT, Stage, type SessionIo } from './stage.js';
import { watches } from './watches.js';

const MORE_HELP = `
Other experiments, each with --help of its own:
  against   puts, gets and scans in turn with those of a reference commit
  growth    ranges, idle ranges and keys: what more of each costs
  overload  an open loop that offers more than the cluster can do
  watches   what many watches cost a router, and how soon they are told
  micro     [FILTER] nanoseconds per operation of hot code (*.bench.ts)
`;

async function runExperiment<Schema extends ConfigSchema>(
  experiment: Experiment<Schema>,
  io: SessionIo,
  moreHelp = '',
): Promise<number> {
  const asked = textAsked(experiment.config, io.argv);
  if (asked !== undefined) {
    io.out(wantsHelp(io.argv) ? `${asked}\n${moreHelp}` : asked);
    return EXIT.measured;
  }
  let config;
  try {
    // Set for the CLI, this variable must not choose a cluster to write to.
    const env = { ...io.env, CAIRN_ENDPOINT: undefined };
    config = loadConfig({ ...experiment.config, argv: io.argv, env }).values;
  } catch (error) {
    io.say(`${messageOf(error)}\nSee: ${experiment.config.name} --help`);
    return EXIT.usage;
  }
  try {
    return await experiment.run(new Stage(io), config, io.env['PATH'] ?? '');
  } catch (error) {
    io.say(messageOf(error));
    return EXIT.failed;
  }
}

/** `micro codec` as a flag. */
function withFilterFlag(argv: readonly string[]): string[] {
  const [first, ...others] = argv;
  return first === undefined || first.startsWith('-') ? [...argv] : ['--filter', first, ...others];
}

/** `npm run bench`: resolves with the exit code. Everything it started has ended by then. */
export async function runSession(io: SessionIo): Promise<number> {
  const [name, ...argv] = io.argv;
  switch (name) {
    case 'against':
      return runExperiment(against, { ...io, argv });
    case 'growth':
      return runExperiment(growth, { ...io, argv });
    case 'overload':
      return runExperiment(overload, { ...io, argv });
    case 'watches':
      return runExperiment(watches, { ...io, argv });
    case 'micro':
      return runExperiment(micro, { ...io, argv: withFilterFlag(argv) });
    default:
      return runExperiment(comparison, io, MORE_HELP);
  }
}
