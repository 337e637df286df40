import { CairnError, messageOf } from '@cairn/base';
import { connect, type CairnClient, type StatusResponse } from '@cairn/client';
import { loadConfig, textAsked, type Environment } from '@cairn/config';
import { DEFAULT_DATA_DIRECTORY, localClusterConfig, type LocalClusterConfig } from './cluster-config.js';
import { startLocalCluster, type ClusterEvent, type LocalCluster } from './local-cluster.js';
import { rowsOf, statusLine, statusLines } from './status-view.js';
import { Terminal, type TerminalStream } from './terminal.js';

/** What `npm start` needs of its surroundings. */
export interface SessionIo {
  readonly argv: readonly string[];
  readonly env: Environment;
  readonly stdout: TerminalStream;
  /** Calls back on every request to stop: Ctrl-C, SIGTERM, a closed terminal. */
  onStopRequest(listener: () => void): void;
  /** For tests: programs to run instead of the applications. */
  readonly programs?: Parameters<typeof startLocalCluster>[0]['programs'];
}

const REDRAW_INTERVAL_MS = 1_000;
const PLAIN_INTERVAL_MS = 10_000;
const STATUS_TIMEOUT_MS = 900;
/** With plain output, waiting is reported no more often than this. */
const WAITING_INTERVAL_MS = 5_000;

/** Exit codes of `npm start`. */
export const EXIT = { stopped: 0, failed: 1, usage: 2, killed: 130 } as const;

/** Two stop signals closer than this are one that arrived twice. */
const ECHO_MS = 500;

function describeDeath(event: Extract<ClusterEvent, { kind: 'died' }>): string {
  const how =
    event.end.signal === null ? `ended with exit code ${event.end.code}` : `was ended by ${event.end.signal}`;
  const next =
    event.restartInMs === undefined
      ? 'It is not started again.'
      : `Starting it again in ${event.restartInMs} ms.`;
  const tail = event.lastLines.map((line) => `    ${line}`).join('\n');
  return `! ${event.name} ${how}. ${next} The end of its log, ${event.logFile}:\n${tail}`;
}

/** Shows how the start goes, under `head` from the first process on, and what happens later. */
function reporter(terminal: Terminal, head: string): (event: ClusterEvent) => void {
  let waitingShownMs = performance.now();
  let hasBegun = false;
  let isUp = false;
  return (event) => {
    switch (event.kind) {
      case 'starting':
        if (isUp) terminal.print(`Starting ${event.name} …`);
        else if (!hasBegun) terminal.print(head);
        hasBegun = true;
        return;
      case 'waiting': {
        if (isUp) return;
        const reasons = [...event.reasons].map(([name, reason]) => `${name}: ${reason}`);
        if (terminal.isInteractive) {
          terminal.draw([`Waiting for ${reasons.length} processes`, ...reasons.map((each) => `  ${each}`)]);
        } else if (performance.now() - waitingShownMs > WAITING_INTERVAL_MS) {
          waitingShownMs = performance.now();
          terminal.print(`Waiting for ${reasons.join(', ')}`);
        }
        return;
      }
      case 'ready':
        isUp = true;
        terminal.clear();
        terminal.print(`Serving after ${event.seconds.toFixed(1)} s.`);
        return;
      case 'died':
        terminal.print(describeDeath(event));
        return;
      case 'killed-hard':
        terminal.print(`! ${event.name} did not stop in time and was killed.`);
        return;
    }
  };
}

function welcome(cluster: LocalCluster, config: LocalClusterConfig): string {
  const [router = ''] = cluster.endpoints.routers;
  const routerHttp = cluster.endpoints.http['router-1'] ?? '';
  // The CLI looks there by itself.
  const isFound = config.dataDir === DEFAULT_DATA_DIRECTORY;
  const endpoint = isFound ? '' : ` --endpoint ${router}`;
  return [
    '',
    `  gRPC       ${cluster.endpoints.routers.join(', ')}   (cairn.v1.KV, with reflection and health)`,
    `  metrics    http://${routerHttp}/metrics   (every process has one: see endpoints.json)`,
    `  data       ${config.dataDir}   (logs in ${config.dataDir}/logs)`,
    '',
    'Three things to try, in another terminal, in the directory of the checkout:',
    '',
    `  npx cairn${endpoint} put hello world`,
    `  npx cairn${endpoint} get hello`,
    `  npx cairn${endpoint} status`,
    '',
    'Ctrl-C stops everything; the data stays.',
    '',
  ].join('\n');
}

async function askStatus(client: CairnClient): Promise<StatusResponse | undefined> {
  try {
    return await client.status({ timeoutMs: STATUS_TIMEOUT_MS });
  } catch {
    // Shown as "do not answer": the routers' own logs say more than one failed question could.
    return undefined;
  }
}

/** Shows the status until a stop is asked for. */
async function watch(cluster: LocalCluster, terminal: Terminal, stopRequested: Promise<void>): Promise<void> {
  const client = connect({ endpoints: [...cluster.endpoints.routers] });
  const names = cluster.nodes.map((node) => node.name);
  const isRunning = (name: string): boolean => cluster.processId(name) !== undefined;
  const intervalMs = terminal.isInteractive ? REDRAW_INTERVAL_MS : PLAIN_INTERVAL_MS;
  let stopping = false;
  void stopRequested.then(() => (stopping = true));
  try {
    while (!stopping) {
      const status = await askStatus(client);
      const rows = rowsOf(names, isRunning, status);
      if (stopping) break;
      if (terminal.isInteractive) terminal.draw(statusLines(rows, status));
      else terminal.print(statusLine(rows, status));
      const pause = Promise.withResolvers<void>();
      const timer = setTimeout(pause.resolve, intervalMs);
      await Promise.race([pause.promise, stopRequested]);
      clearTimeout(timer);
    }
  } finally {
    client.close();
  }
}

async function runCluster(config: LocalClusterConfig, io: SessionIo, terminal: Terminal): Promise<number> {
  const running: { cluster: LocalCluster | undefined } = { cluster: undefined };
  let requests = 0;
  let askedAtMs = 0;
  const stop = Promise.withResolvers<void>();
  const kill = Promise.withResolvers<'killed'>();
  io.onStopRequest(() => {
    const nowMs = performance.now();
    // npm and a terminal hand on a signal that reached this process already: the echo is no second wish.
    if (requests > 0 && nowMs - askedAtMs < ECHO_MS) return;
    askedAtMs = nowMs;
    requests += 1;
    if (requests === 1) {
      terminal.clear();
      terminal.print('Stopping … (again to kill)');
      stop.resolve();
    } else {
      running.cluster?.killAll();
      kill.resolve('killed');
    }
  });
  const { metadata, shards, routers } = config;
  const head = `Starting ${metadata} metadata, ${shards} shard and ${routers} router processes …`;
  const cluster = await startLocalCluster({
    dataDirectory: config.dataDir,
    metadata,
    shards,
    routers,
    basePort: config.basePort,
    restart: config.restart,
    flags: [
      ...['--log-level', config.logLevel],
      ...(config.otlpEndpoint === ''
        ? []
        : ['--otlp-endpoint', config.otlpEndpoint, '--trace-sample-ratio', '1']),
    ],
    onEvent: reporter(terminal, head),
    stopRequested: stop.promise,
    ...(io.programs === undefined ? {} : { programs: io.programs }),
  });
  running.cluster = cluster;
  if (requests === 0) {
    terminal.print(welcome(cluster, config));
    await watch(cluster, terminal, stop.promise);
  }
  const outcome = await Promise.race([cluster.stop().then(() => 'stopped' as const), kill.promise]);
  terminal.print(outcome === 'stopped' ? 'Stopped.' : 'Killed.');
  return outcome === 'stopped' ? EXIT.stopped : EXIT.killed;
}

/** `npm start`: resolves with the exit code. */
export async function runSession(io: SessionIo): Promise<number> {
  const terminal = new Terminal(io.stdout);
  const asked = textAsked(localClusterConfig, io.argv);
  if (asked !== undefined) {
    terminal.print(asked.trimEnd());
    return EXIT.stopped;
  }
  let config: LocalClusterConfig;
  try {
    config = loadConfig({ ...localClusterConfig, argv: io.argv, env: io.env }).values;
  } catch (error) {
    terminal.print(`${messageOf(error)}\nSee: npm start -- --help`);
    return EXIT.usage;
  }
  try {
    return await runCluster(config, io, terminal);
  } catch (error) {
    terminal.clear();
    terminal.print(messageOf(error));
    return CairnError.is(error) && error.code === 'CANCELLED' ? EXIT.stopped : EXIT.failed;
  }
}
