import { existsSync, readdirSync, readFileSync, renameSync, statfsSync, writeFileSync } from 'node:fs';
import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CairnError, messageOf } from '@cairn/base';
import type { NodeCounts, NodePlan } from './layout.js';

/**
 * Version of the arrangement of files below the data directory. Each node's own data carries versions of
 * its own.
 */
export const LAYOUT_VERSION = 1;

/** A file system that answers takes less than this to make a directory and to write into it. */
const ANSWER_TIMEOUT_MS = 10_000;

/** Less free disk than this and the cluster would stop soon after it started. */
const FREE_BYTES_MIN = 2 ** 30;

const CLUSTER_FILE = 'cluster.json';
const ENDPOINTS_FILE = 'endpoints.json';
const PROCESSES_FILE = 'processes.json';

interface ClusterFile {
  readonly layoutVersion: number;
  readonly metadata: number;
  readonly shards: number;
  readonly createdAt: string;
}

/** Where clients and people find a running cluster; what `endpoints.json` holds. */
export interface ClusterEndpoints {
  /** gRPC addresses of the routers. */
  readonly routers: readonly string[];
  /** Framed addresses of the metadata members. */
  readonly metadata: readonly string[];
  /** Health and metrics of every process, by name. */
  readonly http: Readonly<Record<string, string>>;
}

function refuse(message: string): never {
  throw new CairnError('FAILED_PRECONDITION', message);
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(`${path}.new`, `${JSON.stringify(value, undefined, 2)}\n`);
  renameSync(`${path}.new`, path);
}

function readClusterFile(directory: string): ClusterFile | undefined {
  const path = join(directory, CLUSTER_FILE);
  if (!existsSync(path)) {
    const [first] = readdirSync(directory).filter((name) => name !== 'logs');
    if (first !== undefined) {
      refuse(
        `The directory ${directory} holds files (${first}, for one) but no Cairn cluster. ` +
          `Choose an empty or new directory with --data-dir.`,
      );
    }
    return undefined;
  }
  let parsed: Partial<ClusterFile>;
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8')) as Partial<ClusterFile>;
  } catch (error) {
    return refuse(
      `${path} cannot be read (${messageOf(error)}). Restore it from a copy, or choose another directory with --data-dir.`,
    );
  }
  const { layoutVersion, metadata, shards } = parsed;
  if (typeof layoutVersion !== 'number' || typeof metadata !== 'number' || typeof shards !== 'number') {
    refuse(`${path} is not from a Cairn cluster. Choose another directory with --data-dir.`);
  }
  return { layoutVersion, metadata, shards, createdAt: parsed.createdAt ?? '' };
}

function checkCounts(directory: string, found: ClusterFile, wanted: NodeCounts): void {
  if (found.layoutVersion > LAYOUT_VERSION) {
    refuse(
      `The data in ${directory} was written by a newer version of Cairn (layout ${found.layoutVersion}; this one knows ` +
        `up to ${LAYOUT_VERSION}). Start it with that version, or choose another directory with --data-dir.`,
    );
  }
  if (found.metadata !== wanted.metadata) {
    refuse(
      `The data in ${directory} belongs to a cluster with ${found.metadata} metadata members, not ${wanted.metadata}. ` +
        `Start with --metadata ${found.metadata}, or choose another directory with --data-dir.`,
    );
  }
  if (found.shards > wanted.shards) {
    refuse(
      `The data in ${directory} lives on ${found.shards} shard nodes; with ${wanted.shards} some of it would be missing. ` +
        `Start with --shards ${found.shards} or more, or choose another directory with --data-dir.`,
    );
  }
}

function checkSpace(directory: string): void {
  const { bavail, bsize } = statfsSync(directory);
  const freeBytes = bavail * bsize;
  if (freeBytes >= FREE_BYTES_MIN) return;
  refuse(
    `Only ${Math.floor(freeBytes / 2 ** 20)} MiB are free on the disk of ${directory}; a local cluster needs ` +
      `${FREE_BYTES_MIN / 2 ** 20} MiB. Free some space, or choose a directory on another disk with --data-dir.`,
  );
}

/**
 * Makes the directories that are missing, one by one: asked to make all at once, Node tries for ever on a
 * file system that takes none, such as /proc, and hears no signal meanwhile.
 */
async function makeDirectory(path: string): Promise<void> {
  const missing: string[] = [];
  for (let at = path; !(await isThere(at)); at = dirname(at)) missing.push(at);
  for (const each of missing.reverse()) await mkdir(each);
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function makeAndWrite(directory: string): Promise<void> {
  const logs = join(directory, 'logs');
  await makeDirectory(logs);
  const probe = join(logs, 'probe');
  await writeFile(probe, '');
  await rm(probe);
}

/** Makes the data directory, and makes sure that its file system takes files and answers. */
async function prepare(directory: string): Promise<void> {
  const waiting = new AbortController();
  const late = delay(ANSWER_TIMEOUT_MS, 'late' as const, { signal: waiting.signal });
  try {
    const first = await Promise.race([makeAndWrite(directory), late]);
    if (first !== 'late') return;
  } catch (error) {
    refuse(
      `The directory ${directory} cannot be made or written to: ${messageOf(error)}. Choose another one with --data-dir.`,
    );
  } finally {
    waiting.abort();
  }
  refuse(
    `The file system of ${directory} does not answer within ${ANSWER_TIMEOUT_MS / 1_000} s. Check the mount, or ` +
      'choose another directory with --data-dir.',
  );
}

/**
 * Makes a data directory, or makes sure that the one there fits.
 *
 * Rejects with `FAILED_PRECONDITION` and a sentence that says what to do: a file system that takes no files,
 * foreign files, a newer layout, other numbers of nodes, a full disk.
 */
export async function openDataDirectory(directory: string, counts: NodeCounts): Promise<void> {
  await prepare(directory);
  const found = readClusterFile(directory);
  if (found !== undefined) checkCounts(directory, found, counts);
  checkSpace(directory);
  if (found?.shards === counts.shards) return;
  const createdAt = found?.createdAt ?? new Date().toISOString();
  const { metadata, shards } = counts;
  writeJson(join(directory, CLUSTER_FILE), { layoutVersion: LAYOUT_VERSION, metadata, shards, createdAt });
}

/** Lets the CLI and people find the cluster. */
export function writeEndpoints(directory: string, endpoints: ClusterEndpoints): void {
  writeJson(join(directory, ENDPOINTS_FILE), endpoints);
}

export function endpointsOf(nodes: readonly NodePlan[]): ClusterEndpoints {
  return {
    routers: nodes.filter((node) => node.kind === 'router').map((node) => node.advertised),
    metadata: nodes.filter((node) => node.kind === 'metadata').map((node) => node.advertised),
    http: Object.fromEntries(nodes.map((node) => [node.name, node.httpAddress])),
  };
}

/**
 * Remembers which processes run, so that the next start can name those that a crash of this tool left
 * behind.
 */
export function writeProcesses(directory: string, processIds: Readonly<Record<string, number>>): void {
  writeJson(join(directory, PROCESSES_FILE), { tool: process.pid, nodes: processIds });
}

function commandLineOf(processId: number): string {
  try {
    process.kill(processId, 0);
  } catch {
    return '';
  }
  const path = `/proc/${processId}/cmdline`;
  // Without /proc the id alone has to do; it may have been given to somebody else since.
  return existsSync(path) ? readFileSync(path, 'utf8').replaceAll('\0', ' ') : 'unknown';
}

/**
 * Processes of an earlier start on this directory that still run: the tool itself, or nodes it left behind.
 */
export function leftoverProcesses(directory: string): {
  readonly tool: number;
  readonly nodes: readonly number[];
} {
  const path = join(directory, PROCESSES_FILE);
  if (!existsSync(path)) return { tool: 0, nodes: [] };
  const recorded = JSON.parse(readFileSync(path, 'utf8')) as { tool: number; nodes: Record<string, number> };
  const toolLine = recorded.tool === process.pid ? '' : commandLineOf(recorded.tool);
  const isTool = toolLine.includes('local-cluster') || toolLine === 'unknown';
  const nodes = Object.entries(recorded.nodes)
    .filter(([name, processId]) => {
      const line = commandLineOf(processId);
      return line === 'unknown' || line.includes(`--name ${name} `);
    })
    .map(([, processId]) => processId);
  return { tool: isTool ? recorded.tool : 0, nodes };
}

/** Refuses when another start of this directory is still running, or left processes behind. */
export function checkNotRunning(directory: string): void {
  const { tool, nodes } = leftoverProcesses(directory);
  if (tool !== 0) {
    refuse(
      `A local cluster already runs on ${directory} (process ${tool}). Use it, stop it with Ctrl-C, or start another ` +
        `one with --data-dir and --base-port.`,
    );
  }
  if (nodes.length > 0) {
    refuse(
      `Processes of an earlier start on ${directory} still run. Stop them with: kill ${nodes.join(' ')}`,
    );
  }
}
