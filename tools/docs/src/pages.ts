import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { configMarkdown, metadataConfig, routerConfig, shardConfig } from '@cairn/config';
import { protoMarkdown } from './proto-markdown.js';

/** Root of the checkout. */
export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');

const NOTE = 'This page is generated; change its source and run `npm run docs`.';

function configurationPage(): string {
  return [
    '# Configuration',
    '',
    NOTE,
    '',
    'Every field can come from a YAML file (named by `--config-file` or `CAIRN_CONFIG_FILE`), an environment variable or a',
    'flag. Flags go before variables, variables before the file. A process with a bad value, or an unknown flag or field of',
    'the file, does not start and names every problem at once. Unknown variables are left alone: they may be for another',
    'program; a warning in the log names one that looks misspelt. `--help` of each program shows the same, `--version` its version.',
    '',
    ...[routerConfig, shardConfig, metadataConfig].map(configMarkdown),
  ].join('\n');
}

function apiPage(): string {
  const folder = join(ROOT, 'proto/cairn/v1');
  const order = ['kv.proto', 'txn.proto', 'watch.proto', 'kinds.proto', 'errors.proto', 'cluster.proto'];
  const rest = readdirSync(folder).filter((name) => name.endsWith('.proto') && !order.includes(name));
  const sections = [...order, ...rest].map((name) =>
    protoMarkdown(`cairn/v1/${name}`, readFileSync(join(folder, name), 'utf8')),
  );
  return ['# The gRPC interface', '', NOTE, '', ...sections].join('\n');
}

/** Every generated page: path from the root, and its text. */
export function generatedPages(): ReadonlyMap<string, string> {
  return new Map([
    ['docs/configuration.md', `${configurationPage().trimEnd()}\n`],
    ['docs/api.md', `${apiPage().trimEnd()}\n`],
  ]);
}
