import type { Change, WatchOptions } from '@cairn/client';
import type { Command } from 'commander';
import { wholeNumberOf, type CommandContext, type RunAction } from '../context.js';
import { ExitCode, UsageError } from '../exit-codes.js';
import { momentOf } from '../moment.js';
import { jsonBytes, shorten } from '../render/bytes.js';
import { jsonExpiry } from '../render/expiry.js';

interface WatchFlags {
  readonly key?: string;
  readonly start?: string;
  readonly end?: string;
  readonly from?: string;
  readonly previous?: boolean;
  readonly limit?: string;
  readonly wide?: boolean;
}

/** Longest key or value in a line without --wide. */
const CELL_CHARACTERS = 60;

export function registerWatch(program: Command, run: RunAction): void {
  program
    .command('watch [prefix]')
    .description('follow what is written and deleted, as it happens')
    .option('--key <key>', 'this key alone')
    .option('--start <key>', 'from this key on')
    .option('--end <key>', 'up to, not including, this key')
    .option('--from <place>', 'begin behind a token, or at -10s, 2030-01-31T12:00:00Z, or a timestamp')
    .option('--previous', 'show what each change has replaced')
    .option('-n, --limit <changes>', 'end after so many')
    .option('-w, --wide', 'do not shorten long keys and values')
    .addHelpText(
      'after',
      `
Each change comes once, in the order in which it committed; it goes on by itself when a router is lost.
With --json each line has a token: --from <token> goes on behind that change.

Examples:
  cairn watch city/                 everything that begins with city/
  cairn watch --key leader --previous
  cairn watch city/ --from -10m     what happened lately, then what happens
  cairn watch --json | jq .key`,
    )
    .action(
      run<WatchFlags>(async (context, [prefix], flags) => {
        const options = watchOptionsOf(context, prefix, flags);
        const limit = flags.limit === undefined ? Infinity : wholeNumberOf(flags.limit, '--limit');
        if (limit === 0) throw new UsageError('--limit 0 would show nothing');
        await context.withClient(async (client) => {
          const watch = client.watch(options);
          await watch.start();
          let count = 0;
          for await (const change of watch) {
            await context.line(
              context.isJson ? JSON.stringify(jsonOf(change)) : lineOf(context, change, flags),
            );
            count += 1;
            if (count >= limit) return;
          }
        });
        return ExitCode.ok;
      }),
    );
}

function watchOptionsOf(
  context: CommandContext,
  prefix: string | undefined,
  { key, start, end, from, previous }: WatchFlags,
): WatchOptions {
  const isSpan = start !== undefined || end !== undefined;
  if ([prefix !== undefined, key !== undefined, isSpan].filter(Boolean).length > 1)
    throw new UsageError('give a prefix, --key, or --start and --end: one of them');
  return {
    ...(prefix === undefined ? {} : { prefix: context.bytes(prefix, 'the prefix') }),
    ...(key === undefined ? {} : { key: context.bytes(key, '--key') }),
    ...(start === undefined ? {} : { start: context.bytes(start, '--start') }),
    ...(end === undefined ? {} : { end: context.bytes(end, '--end') }),
    ...(from === undefined ? {} : { from: placeOf(from) }),
    withPrevious: previous === true,
    signal: context.io.signal,
  };
}

/** What looks like no moment is a token. */
function placeOf(text: string): string | number | Date {
  const isMoment = text.startsWith('-') || /^\d+$/.test(text) || /^\d{4}-\d\d-\d\d/.test(text);
  return isMoment ? momentOf(text, '--from') : text;
}

function jsonOf(change: Change): object {
  const { key, type, kind, value, version, timestamp, transaction, previous, token } = change;
  const isShown = type === 'put' && kind === 'bytes';
  return {
    key: jsonBytes(key),
    type,
    ...(isShown ? { value: jsonBytes(value) } : {}),
    ...(kind === 'bytes' ? {} : { kind }),
    version: version.toString('hex'),
    ...jsonExpiry(change),
    timestamp,
    ...(transaction === undefined ? {} : { transaction }),
    ...(previous === undefined ? {} : { previous: jsonBytes(previous.value) }),
    token,
  };
}

/** `1234  put     city/1  Bern  (was Basel)`. */
function lineOf(context: CommandContext, change: Change, { wide, previous: isAsked }: WatchFlags): string {
  const { key, type, kind, value, timestamp, previous } = change;
  const shown = (bytes: Buffer): string => {
    const text = context.show(bytes);
    return wide === true ? text : shorten(text, CELL_CHARACTERS);
  };
  const parts = [String(timestamp), type.padEnd('delete'.length), shown(key)];
  if (type === 'put') parts.push(kind === 'bytes' ? shown(value) : `(${kind})`);
  if (isAsked === true)
    parts.push(previous === undefined ? '(was absent)' : `(was ${shown(previous.value)})`);
  return parts.join('  ');
}
