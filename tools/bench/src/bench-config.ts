import { accessSync, constants, statSync } from 'node:fs';
import {
  booleanField,
  choiceField,
  integerField,
  parseAddress,
  textField,
  type ConfigDefinition,
} from '@cairn/config';
import { z } from 'zod';
import { KEYS_MAX, VALUE_BYTES_MIN } from './data-set.js';
import { isTransactionWork, PLAIN_WORKS, WORK_GROUPS, WORKS, type WorkName } from './works.js';

const OUTSTANDING_MAX = 10_000;
/** Not a closed loop in a window, hence no work like the others. */
const FAILOVER = 'failover';
const NAMES: readonly string[] = [...WORKS, FAILOVER];
const GROUPS: readonly string[] = [...WORK_GROUPS.keys()];
/** The two keys of a transaction, also of one range of two. */
const TRANSACTION_KEYS_MIN = 4;

/** The same flag wherever a cluster is started. */
export const engineField = choiceField({
  description: 'Storage engine of the shard nodes that are started.',
  choices: ['lsm', 'classic-level', 'memory'],
  default: 'lsm',
});

/** The same in all benchmarks. */
export const valueBytesField = integerField({
  description: 'Size of a value; 16 of the bytes are new in each put.',
  default: 256,
  min: VALUE_BYTES_MIN,
  max: 1_048_576,
});

/** The same in all benchmarks. */
export const dataDirField = textField({
  description:
    'Directory on a real disk, in which a temporary one is made and removed. Empty = the temporary directory of the ' +
    'system, or the working directory when the former is kept in memory.',
  default: '',
});

/** Of experiments, whose clusters are cold when they begin. */
export const experimentWarmupField = integerField({
  description: 'Seconds before each measurement under the same load.',
  default: 2,
  min: 0,
  max: 600,
});

/** The flags of `npm run bench`. */
export const benchSchema = z.object({
  peer: choiceField({
    description: 'Another system to measure in turn with ours.',
    choices: ['none', 'etcd'],
    default: 'none',
  }),
  json: booleanField({ description: 'One JSON object per line instead of the tables.', default: false }),
  works: textField({
    description:
      `Works, separated by commas: ${NAMES.join(', ')}. Empty = ${PLAIN_WORKS.join(', ')} and failover; unary ` +
      `only with --kvload. ${GROUPS.join(', ')} = all works that begin so; txn also snapshot-10 and counter. ` +
      'With one of them the data set is cut into two ranges, and put and get are measured besides. ' +
      'stale = get from any replica (etcd: serializable), unary = puts as plain gRPC calls of the native generator, ' +
      'failover = time without a success after SIGKILL of the leader, last of all.',
    default: '',
  }),
  outstanding: textField({
    description: 'Numbers of operations that are open at any time, separated by commas.',
    default: '1,16,64,256',
  }),
  duration: integerField({ description: 'Seconds that each run measures.', default: 5, min: 1, max: 3_600 }),
  warmup: integerField({
    description: 'Seconds before each measurement under the same load.',
    default: 1,
    min: 0,
    max: 600,
  }),
  repetitions: integerField({
    description: 'Runs of each cell and system; medians are shown.',
    default: 3,
    min: 1,
    max: 100,
  }),
  keys: integerField({
    description: 'Keys that are loaded and then drawn from.',
    default: 100_000,
    min: 1,
    max: KEYS_MAX,
  }),
  valueBytes: valueBytesField,
  endpoint: textField({
    description:
      'Routers of a cluster that runs already, as host:port with commas between. It is written to, and ' +
      'therefore never taken from CAIRN_ENDPOINT. Empty = a cluster ' +
      'of 3 metadata members, 3 shard nodes and a router is started and removed.',
    default: '',
  }),
  engine: engineField,
  etcd: textField({ description: 'The etcd program. Empty = the newest on the PATH.', default: '' }),
  kvload: textField({
    description:
      'A native gRPC load generator that drives etcd, and both systems in the work unary. Empty = a Node client ' +
      'drives etcd.',
    default: '',
  }),
  dataDir: dataDirField,
});

export type BenchConfig = z.output<typeof benchSchema>;

/** The parts of a list with commas, without blanks and empty ones. */
export function listOf(text: string): string[] {
  return text
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '');
}

function isWork(text: string): text is WorkName {
  return WORKS.some((work) => work === text);
}

/** The works of a configuration that was checked. */
export function worksOf(config: BenchConfig): WorkName[] {
  const named = new Set(
    listOf(config.works).flatMap((name): readonly string[] => WORK_GROUPS.get(name) ?? [name]),
  );
  if (named.size > 0) return [...named].filter(isWork);
  return PLAIN_WORKS.filter((work) => work !== 'unary' || config.kvload !== '');
}

/** A cluster that somebody else started is not killed. */
export function wantsFailover(config: BenchConfig): boolean {
  const named = listOf(config.works);
  return named.length > 0 ? named.includes(FAILOVER) : config.endpoint === '';
}

/** The numbers of outstanding operations of a configuration that was checked. */
export function outstandingOf(config: BenchConfig): number[] {
  return [...new Set(listOf(config.outstanding).map(Number))];
}

export function endpointsOf(config: BenchConfig): string[] {
  return listOf(config.endpoint);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    // Whatever the reason, it cannot be run, and that is the answer.
    return false;
  }
}

/** One sentence per mistake. */
export function checkBench(config: BenchConfig): string[] {
  const problems: string[] = [];
  const works = listOf(config.works);
  for (const work of works.filter((each) => ![...NAMES, ...GROUPS].includes(each))) {
    problems.push(
      `works names ${JSON.stringify(work)}: it must be some of ${[...NAMES, ...GROUPS].join(', ')}.`,
    );
  }
  if (config.keys < TRANSACTION_KEYS_MIN && worksOf(config).some(isTransactionWork)) {
    problems.push(`keys is ${config.keys}: works with transactions need at least ${TRANSACTION_KEYS_MIN}.`);
  }
  if (works.includes(FAILOVER) && config.endpoint !== '') {
    problems.push(
      'The work failover kills a node, and that of a cluster that runs already is not ours to kill.',
    );
  }
  if (works.includes('unary') && config.kvload === '') {
    problems.push('The work unary is done by the native generator: name it with --kvload.');
  }
  const outstanding = listOf(config.outstanding);
  if (outstanding.length === 0) problems.push('outstanding is empty: it must hold at least one number.');
  for (const each of outstanding) {
    if (/^\d+$/.test(each) && Number(each) >= 1 && Number(each) <= OUTSTANDING_MAX) continue;
    problems.push(
      `outstanding holds ${JSON.stringify(each)}: it must be whole numbers from 1 to ${OUTSTANDING_MAX}.`,
    );
  }
  for (const endpoint of listOf(config.endpoint)) {
    if (parseAddress(endpoint) !== undefined) continue;
    problems.push(
      `endpoint holds ${JSON.stringify(endpoint)}: it must be host:port, for example 127.0.0.1:7100.`,
    );
  }
  if (config.kvload !== '' && !isProgram(config.kvload)) {
    problems.push(`kvload is ${JSON.stringify(config.kvload)}: there is no program with this path.`);
  }
  if (config.etcd !== '' && config.peer !== 'etcd') {
    problems.push('etcd names a program, but it is not measured: add --peer etcd.');
  }
  return problems;
}

export const benchConfig: ConfigDefinition<typeof benchSchema> = {
  name: 'npm run bench --',
  summary: 'Measures a cluster of real processes in closed loops, on request in turn with a peer.',
  schema: benchSchema,
  check: checkBench,
};
