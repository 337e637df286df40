import type { CairnClient, Row, ScanOptions } from '@cairn/client';
import type { Command } from 'commander';
import { wholeNumberOf, type CommandContext, type RunAction } from '../context.js';
import { ExitCode, UsageError } from '../exit-codes.js';
import { consistencyOf, readMomentOf } from '../moment.js';
import { jsonBytes, shorten } from '../render/bytes.js';
import { jsonExpiry } from '../render/expiry.js';
import { countLine, renderTable } from '../render/table.js';

export interface SpanFlags {
  readonly prefix?: string;
  readonly start?: string;
  readonly end?: string;
  readonly limit?: string;
}

interface ScanFlags extends SpanFlags {
  readonly reverse?: boolean;
  readonly keysOnly?: boolean;
  readonly stale?: boolean;
  readonly at?: string;
  readonly wide?: boolean;
}

const LIMIT_DEFAULT = 100;
/** Longest key or value in a table without --wide. */
const CELL_CHARACTERS = 60;
/** Rows per table: each screenful is aligned and printed by itself, so that long scans show at once. */
const TABLE_ROWS = 1000;

/** The span options that scan and export share. */
export function spanOptions(context: CommandContext, flags: SpanFlags): ScanOptions {
  if (flags.prefix !== undefined && (flags.start !== undefined || flags.end !== undefined)) {
    throw new UsageError('--prefix cannot be combined with --start or --end');
  }
  return {
    ...(flags.prefix === undefined ? {} : { prefix: context.bytes(flags.prefix, '--prefix') }),
    ...(flags.start === undefined ? {} : { start: context.bytes(flags.start, '--start') }),
    ...(flags.end === undefined ? {} : { end: context.bytes(flags.end, '--end') }),
    ...(flags.limit === undefined ? {} : { limit: wholeNumberOf(flags.limit, '--limit') }),
    signal: context.io.signal,
  };
}

export function registerScan(program: Command, run: RunAction): void {
  program
    .command('scan [prefix]')
    .description('list keys and values in key order, as one consistent snapshot')
    .option('--prefix <prefix>', 'only keys that begin with this')
    .option('--start <key>', 'from this key on')
    .option('--end <key>', 'up to, not including, this key')
    .option('-n, --limit <rows>', `most rows; 0 = all (default ${LIMIT_DEFAULT}; with --json all)`)
    .option('-r, --reverse', 'from the last key to the first')
    .option('-k, --keys-only', 'keys without values')
    .option('-w, --wide', 'do not shorten long keys and values')
    .option('--stale', 'read any replica: fast, possibly old')
    .option('--at <moment>', 'as of then: -10s, 2030-01-31T12:00:00Z, or a timestamp')
    .addHelpText(
      'after',
      `
Examples:
  cairn scan city/                  everything that begins with city/
  cairn scan --start a --end n -n 20
  cairn scan --reverse --limit 1    the last key
  cairn scan city/ --json | jq .value`,
    )
    .action(
      run<ScanFlags>(async (context, [prefix], options) => {
        if (prefix !== undefined && options.prefix !== undefined)
          throw new UsageError('give one prefix, not two');
        const span = spanOptions(context, prefix === undefined ? options : { ...options, prefix });
        const limit = span.limit ?? (context.isJson ? 0 : LIMIT_DEFAULT);
        // One more row than is shown tells whether there are more.
        const asked = limit === 0 || span.limit !== undefined ? limit : limit + 1;
        const scanOptions: ScanOptions = {
          ...span,
          limit: asked,
          reverse: options.reverse === true,
          keysOnly: options.keysOnly === true,
        };
        const moment = readMomentOf(options);
        await context.withClient(async (client) => {
          const whole = { ...scanOptions, ...(await consistencyOf(client, moment)) };
          if (context.isJson) await scanAsJson(context, client, whole);
          else
            await scanAsTable(context, client.scan(whole), {
              limit,
              isWide: options.wide === true,
              isKeysOnly: options.keysOnly === true,
            });
        });
        return ExitCode.ok;
      }),
    );
}

async function scanAsJson(context: CommandContext, client: CairnClient, options: ScanOptions): Promise<void> {
  for await (const page of client.pages(options)) {
    let text = '';
    for (const row of page.rows) {
      const { key, kind } = row;
      const shown = options.keysOnly === true || kind !== 'bytes' ? {} : { value: jsonBytes(row.value) };
      const said = kind === 'bytes' ? {} : { kind };
      const version = row.version.toString('hex');
      const line = { key: jsonBytes(key), ...shown, ...said, version, ...jsonExpiry(row) };
      text += `${JSON.stringify(line)}\n`;
    }
    await context.print(text);
  }
}

async function scanAsTable(
  context: CommandContext,
  scan: AsyncIterable<Row>,
  look: { readonly limit: number; readonly isWide: boolean; readonly isKeysOnly: boolean },
): Promise<void> {
  const columns = look.isKeysOnly ? [{ title: 'key' }] : [{ title: 'key' }, { title: 'value' }];
  const cell = (bytes: Buffer): string => {
    const text = context.show(bytes);
    return look.isWide ? text : shorten(text, CELL_CHARACTERS);
  };
  let rows: string[][] = [];
  let count = 0;
  let hasMore = false;
  for await (const row of scan) {
    if (look.limit > 0 && count === look.limit) {
      hasMore = true;
      break;
    }
    count += 1;
    const value = row.kind === 'bytes' ? cell(row.value) : `(${row.kind})`;
    rows.push(look.isKeysOnly ? [cell(row.key)] : [cell(row.key), value]);
    if (rows.length < TABLE_ROWS) continue;
    await context.line(tableWithoutCount(columns, rows));
    rows = [];
  }
  if (rows.length > 0 || count === 0) await context.line(tableWithoutCount(columns, rows));
  await context.line(
    hasMore ? `(first ${count} rows; more with --limit, all with --limit 0)` : countLine(count, 'row'),
  );
}

function tableWithoutCount(columns: readonly { title: string }[], rows: readonly string[][]): string {
  const lines = renderTable(columns, rows, 'row').trimEnd().split('\n');
  return lines.slice(0, -1).join('\n');
}
