import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isEndpoint } from '@cairn/client';
import { UsageError } from './exit-codes.js';
import { fileFailure } from './files.js';
import type { CliIo } from './io.js';

const DEFAULT_PORT = 7100;
export const DEFAULT_ENDPOINT = `127.0.0.1:${DEFAULT_PORT}`;

/**
 * Which routers to talk to: `--endpoint`, else CAIRN_ENDPOINT, else what the local cluster wrote into
 * `.cairn/endpoints.json` (CAIRN_DATA_DIR names another directory), else 127.0.0.1:7100. Lists have commas.
 */
export async function resolveEndpoints(flag: string | undefined, io: CliIo): Promise<string[]> {
  // It may be an empty variable of a script, and the cluster that is found without it another one.
  if (flag?.trim() === '') throw new UsageError('--endpoint is empty; name a router, or leave it out');
  const given = flag ?? io.env['CAIRN_ENDPOINT'];
  if (given !== undefined && given.trim() !== '') {
    const name = flag === undefined ? 'CAIRN_ENDPOINT' : '--endpoint';
    return given.split(',').map((part) => checked(part.trim(), name));
  }
  const path = join(io.cwd, io.env['CAIRN_DATA_DIR'] ?? '.cairn', 'endpoints.json');
  return (await readEndpointsFile(path)) ?? [DEFAULT_ENDPOINT];
}

async function readEndpointsFile(path: string): Promise<string[] | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw fileFailure(error, path, 'read');
  }
  const routers = routersOf(text);
  if (routers === undefined) {
    throw new UsageError(
      `${path} is not what a local cluster writes; remove it, or name the router with --endpoint`,
    );
  }
  return routers.map((router) => checked(router, path));
}

function routersOf(text: string): string[] | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  const routers = (parsed as { routers?: unknown } | null)?.routers;
  if (!Array.isArray(routers) || routers.length === 0) return undefined;
  return routers.every((router) => typeof router === 'string') ? routers : undefined;
}

/** Adds the default port, so that `--endpoint db.internal` works. */
function checked(endpoint: string, from: string): string {
  const full = /:\d+$/.test(endpoint) ? endpoint : `${endpoint}:${DEFAULT_PORT}`;
  if (isEndpoint(full)) return full;
  throw new UsageError(
    `"${endpoint}" (from ${from}) is not an endpoint; write host:port, for example ${DEFAULT_ENDPOINT}`,
  );
}
