import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CairnError } from '@cairn/base';
import { connect, type CairnClient, type ClientOptions } from '@cairn/client';
import { startLocalCluster, type LocalCluster, type LocalClusterOptions } from '@cairn/local-cluster';
import { forgetDirectory, watchDirectory } from './watchdog.js';

export interface TestCluster {
  readonly cluster: LocalCluster;
  readonly directory: string;
  /** A client of all routers, or of the given ones. Closed by `stop`. */
  client(options?: Partial<ClientOptions>): CairnClient;
  /** The log of one process, as its lines. */
  logLines(name: string): string[];
  /**
   * Ends every process and removes the data (with `CAIRN_E2E_KEEP` set, logs and data stay). Idempotent.
   * Rejects, when all that is done, if a process had ended by itself: no test provokes that.
   */
  stop(): Promise<void>;
}

const READY_TIMEOUT_MS = 40_000;

/**
 * Flags of the shard nodes of every cluster of this test run: with `CAIRN_E2E_ENGINE` set, the same tests run
 * on an engine that is not the default.
 */
function engineFlags(): readonly string[] {
  const engine = process.env['CAIRN_E2E_ENGINE'] ?? '';
  return engine === '' ? [] : ['--engine', engine];
}

/**
 * A new directory below the system's own for such things; goes, with the nodes in it, when the test run is
 * killed.
 */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'cairn-e2e-'));
  watchDirectory(directory);
  return directory;
}

/** Removes a directory of `temporaryDirectory`, whose nodes have ended. */
export function removeTemporary(directory: string): void {
  forgetDirectory(directory);
  rmSync(directory, { recursive: true, force: true });
}

/**
 * Starts a cluster of real processes on free loopback ports, with its data in a directory of its own.
 * Rejects, with nothing left running, when it does not become ready.
 */
export async function startTestCluster(
  options: Omit<LocalClusterOptions, 'dataDirectory'>,
): Promise<TestCluster> {
  const directory = temporaryDirectory();
  const deaths: string[] = [];
  const cluster = await startLocalCluster({
    readyTimeoutMs: READY_TIMEOUT_MS,
    ...options,
    flagsByKind: {
      ...options.flagsByKind,
      shard: [...engineFlags(), ...(options.flagsByKind?.shard ?? [])],
    },
    onEvent: (event) => {
      if (event.kind === 'died') deaths.push(`${event.name} ended by itself:\n${event.lastLines.join('\n')}`);
    },
    dataDirectory: directory,
  }).catch((error: unknown) => {
    removeTemporary(directory);
    throw error;
  });
  const clients: CairnClient[] = [];
  let stopping: Promise<void> | undefined;
  return {
    cluster,
    directory,
    client: (more = {}) => {
      const client = connect({ endpoints: cluster.endpoints.routers, ...more });
      clients.push(client);
      return client;
    },
    logLines: (name) =>
      readFileSync(join(directory, 'logs', `${name}.log`), 'utf8')
        .split('\n')
        .filter((line) => line !== ''),
    stop: () => {
      stopping ??= (async () => {
        for (const client of clients) client.close();
        await cluster.stop();
        if (process.env['CAIRN_E2E_KEEP'] === undefined) removeTemporary(directory);
        else {
          forgetDirectory(directory);
          process.stdout.write(`kept: ${directory}\n`);
        }
        if (deaths.length > 0) throw new CairnError('INTERNAL', deaths.join('\n\n'));
      })();
      return stopping;
    },
  };
}

/**
 * Asks until the answer is not undefined. For states that a cluster reaches by itself a moment later.
 *
 * @throws CairnError DEADLINE_EXCEEDED that names `what`.
 */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  timeoutMs = 10_000,
): Promise<T> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > endMs) {
      throw new CairnError('DEADLINE_EXCEEDED', `not within ${timeoutMs} ms: ${what}`);
    }
    await delay(20);
  }
}
