import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from '@jest/globals';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../../..');

/**
 * Prints, as the last thing, which packages of OpenTelemetry the process has loaded, imported or required.
 * Not its API, which prom-client wants for itself.
 */
const WATCH = `
import { registerHooks } from 'node:module';

const packages = new Set();
registerHooks({
  load: (url, context, next) => {
    const [, name] = /node_modules\\/(@opentelemetry\\/[^/]+)/.exec(url) ?? [];
    if (name !== undefined && name !== '@opentelemetry/api') packages.add(name);
    return next(url, context);
  },
});
process.on('exit', () => process.stdout.write(JSON.stringify([...packages].sort())));
`;

/** A process of a kind whose part does nothing. */
const PROGRAM = `
const { metadataConfig } = await import('@cairn/config');
const { startProcess } = await import('@cairn/process-shell');
const { NodeClock, NodeDisk, NodeRng, TcpTransport } = await import('@cairn/runtime-node');

const open = async () => ({ listens: {}, readiness: () => [], close: async () => undefined });
const [clock, rng, disk, transport] = [new NodeClock(), new NodeRng(), new NodeDisk(), new TcpTransport()];
const ports = { clock, rng, disk, transport };
const { argv, env } = process;
const kind = { config: metadataConfig, what: 'metadata member', open };
const started = await startProcess(kind, { argv: argv.slice(1), env, ports });
await started.stop('SIGTERM');
`;

function loadedBy(argv: readonly string[], env: Readonly<Record<string, string>> = {}): unknown {
  const ended = spawnSync(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(WATCH)}`, ...argv],
    { cwd: ROOT, encoding: 'utf8', env: { PATH: process.env['PATH'] ?? '', ...env } },
  );
  expect([ended.status, ended.stderr]).toEqual([0, '']);
  return JSON.parse(ended.stdout.slice(ended.stdout.lastIndexOf('[')));
}

function loadedByShell(env: Readonly<Record<string, string>>): unknown {
  const directory = mkdtempSync(join(tmpdir(), 'cairn-shell-'));
  const flags = ['--name', 'm', '--peers', 'm=127.0.0.1:1', '--data-directory', directory];
  const log = ['--log-file', join(directory, 'log')];
  return loadedBy(['--input-type=module', '-e', PROGRAM, '--', ...flags, ...log], env);
}

describe('OpenTelemetry', () => {
  it.each(['router', 'shard', 'metadata'])('is no part of what a %s loads to begin with', (app) => {
    expect(loadedBy([`apps/${app}/dist/main.js`, '--help'])).toEqual([]);
  });

  it.each([
    ['nobody names a collector', {}],
    ['it is disabled', { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1', OTEL_SDK_DISABLED: 'true' }],
    [
      'our own setting turns it off',
      { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1', CAIRN_OTLP_ENDPOINT: '' },
    ],
  ])('is not in the memory of a process that has started when %s', (_case, env) => {
    expect(loadedByShell(env)).toEqual([]);
  });

  it('is loaded when somebody names a collector', () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' };
    expect(loadedByShell(env)).toContain('@opentelemetry/sdk-node');
  });
});
