import { parseArgs } from 'node:util';

import { DEFAULT_BOUNDS, type Bounds } from './bounds.js';
import { Explorer, type Exploration } from './explorer.js';

const USAGE = `usage: npm run explore -- [options]

Explores every state that replicas of the consensus core can reach within bounds, and checks in each:
election safety, log matching, state machine safety, leader completeness, that nothing committed is lost,
and that votes and acknowledgements are durable. Messages arrive in any order, late, several times or never.

  --nodes N        voters (${DEFAULT_BOUNDS.nodes})
  --terms N        no replica enters a later term (${DEFAULT_BOUNDS.terms})
  --entries N      no log gets longer; each leader's no-op counts (${DEFAULT_BOUNDS.entries})
  --crashes N      restarts, all together; what was not synced is lost (${DEFAULT_BOUNDS.crashes})
  --timeouts N     election timeouts that pass at a replica, all together (${DEFAULT_BOUNDS.timeouts})
  --heartbeats N   heartbeat intervals that pass at leaders, all together (${DEFAULT_BOUNDS.heartbeats})
  --reads N        reads that are asked for at leaders, all together (${DEFAULT_BOUNDS.reads})
  --pre-votes      pre-votes are messages, too; otherwise each is granted at once
  --states N       keep no more states than this; then it is not exhaustive (${DEFAULT_BOUNDS.statesMax})
  --minutes M      end after so long; then it is not exhaustive
  --json           one JSON object

The exit code is 1 when an invariant is broken (the shortest way there is shown), 3 when states are left.`;

const NAMES = ['nodes', 'terms', 'entries', 'crashes', 'timeouts', 'heartbeats', 'reads'] as const;

const HOLDS = 'exhaustive: every invariant holds in each of them';
const LEFT = 'NOT exhaustive: ended by --states or --minutes; every invariant held so far';

interface Options {
  readonly bounds: Bounds;
  readonly minutes: number;
  readonly json: boolean;
}

function wholeNumber(name: string, text: string | undefined, otherwise: number, most: number): number {
  const value = Number(text ?? otherwise);
  if (!Number.isInteger(value) || value < 0 || value > most)
    throw new Error(`--${name} is a whole number from 0 to ${most}, not ${String(text)}\n\n${USAGE}`);
  return value;
}

function parse(argv: readonly string[]): Options | 'help' {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...argv],
    options: {
      ...{ nodes: text, terms: text, entries: text, crashes: text, timeouts: text, heartbeats: text },
      ...{ reads: text, states: text, minutes: text },
      'pre-votes': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const counts = Object.fromEntries(
    NAMES.map((name) => [name, wholeNumber(name, values[name], DEFAULT_BOUNDS[name], 9)]),
  ) as Record<(typeof NAMES)[number], number>;
  if (counts.nodes < 1 || counts.nodes > 5) throw new Error('--nodes is 1 to 5');
  const statesMax = wholeNumber('states', values.states, DEFAULT_BOUNDS.statesMax, 100_000_000);
  const minutes = Number(values.minutes ?? Infinity);
  if (!(minutes > 0)) throw new Error('--minutes is a number above 0');
  return { bounds: { ...counts, statesMax, hasPreVotes: values['pre-votes'] }, minutes, json: values.json };
}

function report(result: Exploration, seconds: number): string {
  const { violation } = result;
  const counts =
    `${result.states} states, ${result.steps} steps, ${result.replicaStates} states of single replicas, ` +
    `${result.messages} messages, ${result.cut} steps cut off by the bounds, depth ${result.depth}, ` +
    `${seconds.toFixed(1)} s`;
  if (violation === undefined) return `${counts}\n${result.isExhaustive ? HOLDS : LEFT}`;
  return [
    `BROKEN: ${violation.message}`,
    ...violation.trace.map((line, at) => `${at + 1}. ${line}`),
    counts,
  ].join('\n');
}

/** `npm run explore`: everything after `--explore`. */
export function exploreMain(argv: readonly string[]): number {
  const options = parse(argv.filter((each) => each !== '--explore'));
  if (options === 'help') {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const startedMs = performance.now();
  const endMs = startedMs + options.minutes * 60_000;
  let saidMs = startedMs;
  const result = new Explorer(options.bounds).run((states, waiting) => {
    const nowMs = performance.now();
    if (!options.json && nowMs - saidMs > 10_000) {
      saidMs = nowMs;
      process.stderr.write(`  … ${states} states, ${waiting} to be looked at\n`);
    }
    return nowMs < endMs;
  });
  const seconds = (performance.now() - startedMs) / 1_000;
  process.stdout.write(
    `${options.json ? JSON.stringify({ ...result, seconds }) : report(result, seconds)}\n`,
  );
  if (result.violation !== undefined) return 1;
  return result.isExhaustive ? 0 : 3;
}
