import { CairnError } from '@cairn/base';
import type { Children } from './children.js';
import { coresPerOperation, type RunSpec, type Sample } from './system.js';
import type { WorkName } from './works.js';

/** A native load generator, and what it is to drive. */
export interface KvloadTarget {
  readonly path: string;
  /** With `etcd-txn` a put is a transaction: two keys must exist, and are put. */
  readonly adapter: 'etcd' | 'etcd-txn' | 'cairn';
  readonly endpoints: readonly string[];
  /** Servers by process id, for their CPU time; all of one role. */
  readonly processIds: readonly number[];
  readonly keys: number;
  readonly valueBytes: number;
}

/** As many channels for either system, or the one with more endpoints would have more. */
const CHANNELS = 3;
const PRELOAD_OUTSTANDING = 64;

/** The generator's name of a work; undefined when it has none. */
export function kvloadMix(work: WorkName): string | undefined {
  switch (work) {
    case 'put':
    case 'unary':
      return 'put=1';
    case 'get':
      return 'get=1';
    case 'mix':
      return 'get=90,put=10';
    case 'stale':
      return 'sget=1';
    case 'txn-compare':
    case 'txn-compare-2':
      return 'put=1';
    case 'scan':
    case 'txn-rmw':
    case 'txn-one-range':
    case 'txn-transfer':
    case 'txn-zipf':
    case 'snapshot-10':
    case 'counter':
    case 'ycsb-a':
    case 'ycsb-b':
    case 'ycsb-c':
    case 'ycsb-d':
    case 'ycsb-e':
    case 'ycsb-f':
      return undefined;
  }
}

function run(children: Children, target: KvloadTarget, args: readonly string[]): Promise<string> {
  const { path, keys } = target;
  // The second key of a transaction is the one half of so many keys away.
  const env = { ...process.env, KVLOAD_KEYS: String(keys) };
  return new Promise((resolve, reject) => {
    const child = children.start(path, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
    let output = '';
    let problems = '';
    child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (problems = (problems + chunk.toString()).slice(-2_000)));
    child.once('error', (error) => {
      reject(new CairnError('FAILED_PRECONDITION', `${path} cannot be started: ${error.message}`));
    });
    child.once('close', (code, signal) => {
      if (code === 0) return resolve(output);
      const how = signal ?? `exit code ${code}`;
      reject(new CairnError('UNAVAILABLE', `${path} failed (${how}): ${problems.trim()}`));
    });
  });
}

function commonArguments(target: KvloadTarget): string[] {
  return [
    ...['--adapter', target.adapter, '--endpoints', target.endpoints.join(',')],
    ...['--keys', String(target.keys), '--value-size', String(target.valueBytes)],
    ...['--conns', String(CHANNELS), '--json'],
  ];
}

/** Writes all keys. */
export async function kvloadPreload(children: Children, target: KvloadTarget): Promise<void> {
  const more = ['--preload', '--conc', String(PRELOAD_OUTSTANDING)];
  await run(children, target, [...commonArguments(target), ...more]);
}

/** A field of the generator's report. */
function numberOf(report: Readonly<Record<string, unknown>>, name: string): number {
  const value = report[name];
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new CairnError('FAILED_PRECONDITION', `The load generator's report has no number ${name}.`);
}

/**
 * The generator's JSON line as a sample.
 *
 * @throws CairnError `FAILED_PRECONDITION` when it is not the report of such a generator.
 */
export function parseKvloadReport(text: string, servers: number): Sample {
  let report: unknown;
  try {
    report = JSON.parse(text.trim().split('\n').at(-1) ?? '');
  } catch (error) {
    throw new CairnError('FAILED_PRECONDITION', 'The load generator did not report in JSON.', {
      cause: error,
    });
  }
  if (typeof report !== 'object' || report === null) {
    throw new CairnError('FAILED_PRECONDITION', 'The load generator did not report an object.');
  }
  const fields = report as Readonly<Record<string, unknown>>;
  const opsPerSecond = numberOf(fields, 'ops_per_s');
  const clientCores = numberOf(fields, 'client_cpu_cores');
  const serverCores = numberOf(fields, 'server_cpu_cores');
  const machineCores = numberOf(fields, 'machine_cpu_cores');
  const errors = numberOf(fields, 'errors');
  return {
    opsPerSecond,
    p50Ms: numberOf(fields, 'p50_ms'),
    p99Ms: numberOf(fields, 'p99_ms'),
    p999Ms: numberOf(fields, 'p999_ms'),
    errors,
    firstError: errors > 0 ? 'reported by the native generator without a text' : '',
    misses: numberOf(fields, 'misses'),
    cpuUsPerOp: {
      client: coresPerOperation(clientCores, opsPerSecond),
      ...(servers === 0 ? {} : { member: coresPerOperation(serverCores / servers, opsPerSecond) }),
      total: coresPerOperation(clientCores + serverCores, opsPerSecond),
    },
    otherCores: Math.max(0, machineCores - clientCores - serverCores),
  };
}

/** One run. @throws when the generator fails or does not know the work. */
export async function kvloadRun(children: Children, target: KvloadTarget, spec: RunSpec): Promise<Sample> {
  const mix = kvloadMix(spec.work);
  if (mix === undefined) {
    throw new CairnError('INVALID_ARGUMENT', `The native generator does not know the work ${spec.work}.`);
  }
  const servers = target.processIds;
  const output = await run(children, target, [
    ...commonArguments(target),
    ...['--mix', mix, '--conc', String(spec.outstanding), '--seed', String(spec.seed + 1)],
    ...['--duration', String(spec.durationMs / 1_000), '--warmup', String(spec.warmupMs / 1_000)],
    ...(servers.length === 0 ? [] : ['--server-pids', servers.join(',')]),
  ]);
  return parseKvloadReport(output, servers.length);
}
