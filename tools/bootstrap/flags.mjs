/**
 * Flags of the programs. npm takes them for itself when `--` is left out before them, and hands them on in
 * its environment alone: the program would run with its defaults, for an hour or on other ports.
 */
import { fail } from './say.mjs';

const FLAGS = {
  start: ['data-dir', 'shards', 'metadata', 'routers', 'base-port', 'restart', 'log-level', 'otlp-endpoint'],
  sim: ['seeds', 'minutes', 'engine', 'log', 'mutants', 'coverage', 'failover'],
  explore: ['nodes', 'terms', 'entries', 'crashes', 'timeouts', 'heartbeats', 'reads', 'states', 'minutes'],
  fuzz: ['minutes', 'steps', 'seed', 'targets'],
  soak: ['minutes', 'clients', 'seed'],
  nemesis: [
    ...['minutes', 'seed', 'faults', 'network', 'engine', 'metadata', 'shards', 'routers', 'clients', 'keep'],
  ],
  check: ['level', 'total', 'allow-negative'],
  bench: ['peer', 'works', 'outstanding', 'duration', 'repetitions', 'engine', 'commit'],
};

export function refuseFlagsOfNpm(name) {
  if (process.env.npm_lifecycle_event !== name) return;
  const taken = (FLAGS[name] ?? []).filter(
    (flag) => process.env[`npm_config_${flag.replaceAll('-', '_')}`] !== undefined,
  );
  if (taken.length === 0) return;
  const flags = taken.map((flag) => `--${flag}`).join(' and ');
  const command = name === 'start' ? 'npm start' : `npm run ${name}`;
  fail(`npm took ${flags} for itself. Put -- before the flags of the program: ${command} -- --${taken[0]} …`);
}
