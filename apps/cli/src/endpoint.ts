import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UsageError } from './exit-codes.js';
import { fileFailure } from './files.js';
import type { CliIo } from './io.js';

export const DEFAULT_ENDPOINT = '127.0.0.1:7100';

/**
 * Which routers to talk to: `--endpoint`, else CAIRN_ENDPOINT, else what the local cluster wrote into
 * `.cairn/endpoints.json` (CAIRN_DATA_DIR names another directory), else 127.0.0.1:7100. Lists have commas.
 */
export async function resolveEndpoints(flag: string | undefined, io: CliIo): Promise<string[]> {
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
  if (/^(\[[0-9a-fA-F:.]+\]|[^\s:/,]+):\d{1,5}$/.test(endpoint)) return endpoint;
  if (/^(\[[0-9a-fA-F:.]+\]|[^\s:/,]+)$/.test(endpoint)) return `${endpoint}:7100`;
  throw new UsageError(
    `"${endpoint}" (from ${from}) is no endpoint; write host:port, for example ${DEFAULT_ENDPOINT}`,
  );
}
