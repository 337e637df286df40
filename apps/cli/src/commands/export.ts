import type { Stats } from 'node:fs';
import { open, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname, extname, resolve } from 'node:path';
import { finished } from 'node:stream/promises';
import type { Writable } from 'node:stream';
import { CairnError } from '@cairn/base';
import type { Row, ScanOptions } from '@cairn/client';
import type { Command } from 'commander';
import { type CommandContext, type RunAction } from '../context.js';
import { ExitCode, UsageError } from '../exit-codes.js';
import { fileFailure, withFile } from '../files.js';
import { OutputError, write } from '../io.js';
import { Progress } from '../progress.js';
import { jsonBytes, utf8OrUndefined } from '../render/bytes.js';
import { jsonExpiry } from '../render/expiry.js';
import { rowsText, showDuration } from '../render/units.js';
import { spanOptions, type SpanFlags } from './scan.js';

interface ExportFlags extends SpanFlags {
  readonly format?: string;
}

type RenderRow = (row: Row) => string;

export function registerExport(program: Command, run: RunAction): void {
  program
    .command('export [file]')
    .description('write keys and values to a file, or to standard output')
    .option('--format <format>', 'ndjson or csv (default: by the name of the file, else ndjson)')
    .option('--prefix <prefix>', 'only keys that begin with this')
    .option('--start <key>', 'from this key on')
    .option('--end <key>', 'up to, not including, this key')
    .option('-n, --limit <rows>', 'most rows (default all)')
    .addHelpText(
      'after',
      `
One consistent snapshot, in key order, in a form that import reads back byte for byte. NDJSON lines
are {"key":"...","value":"..."}, with "expires" where a key disappears by itself; what is no UTF-8 is
{"base64":"..."}. CSV has the columns key, value, encoding (empty or base64) and expires. A file
appears under its name only when it is complete, in place of an older one of that name; a pipe or a
device is written to.

Examples:
  cairn export backup.ndjson
  cairn export --prefix city/ --format csv > cities.csv`,
    )
    .action(
      run<ExportFlags>(async (context, [file], options) => {
        const isCsv = isCsvFormat(file, options.format);
        const span = spanOptions(context, options);
        const render = isCsv ? csvRow : ndjsonRow;
        const head = isCsv ? 'key,value,encoding,expires\n' : '';
        if (isStandardOutput(file)) {
          await exportTo(context, context.io.stdout, { span, render, head });
        } else await exportToFile(context, resolve(context.io.cwd, file), { span, render, head });
        return ExitCode.ok;
      }),
    );
}

interface ExportJob {
  readonly span: ScanOptions;
  readonly render: RenderRow;
  readonly head: string;
}

function isStandardOutput(file: string | undefined): file is '-' | '/dev/stdout' | undefined {
  return file === undefined || file === '-' || file === '/dev/stdout';
}

/** Where a file is made: aside, under the name it has until it is complete. */
interface Place {
  /** What a person named, where links lead to. */
  readonly path: string;
  readonly partial: string;
  readonly mode: number;
}

/** undefined: a pipe or a device, which takes what is written to it and is not to be replaced. */
async function placeOf(path: string): Promise<Place | undefined> {
  const old = await statOf(path);
  if (old === undefined) return { path, partial: `${path}.partial`, mode: 0o666 };
  if (!old.isFile() && !old.isDirectory()) return undefined;
  const target = await realpath(path);
  return { path: target, partial: `${target}.partial`, mode: old.mode & 0o777 };
}

async function statOf(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw fileFailure(error, path, 'written');
  }
}

async function exportToFile(context: CommandContext, path: string, job: ExportJob): Promise<void> {
  const place = await placeOf(path);
  const written = place?.partial ?? path;
  const handle = await withFile(written, 'written', () => open(written, 'w', place?.mode));
  // Bytes of a file are on the disk before it is closed, so before it has its name.
  const stream = handle.createWriteStream({ flush: place !== undefined });
  // A failed write shows in the next `write`; without a listener it would end the process.
  stream.on('error', () => undefined);
  const progress = new Progress(context.io, 'exported', undefined);
  try {
    const rows = await exportTo(context, stream, job, progress);
    stream.end();
    await finished(stream);
    if (place !== undefined) await giveName(place);
    const summary = { exported: rows, elapsedMs: Math.round(progress.elapsedMs) };
    if (context.isJson) await context.json(summary);
    else await context.line(`${rowsText(rows)} exported in ${showDuration(summary.elapsedMs)}`);
  } catch (error) {
    stream.destroy();
    if (place !== undefined) await rm(place.partial, { force: true });
    throw fileFailure(error instanceof OutputError ? error.cause : error, path, 'written');
  }
}

async function giveName({ path, partial }: Place): Promise<void> {
  await withFile(path, 'written', () => rename(partial, path));
  await syncDirectory(dirname(path));
}

/** Makes the new name last: it is the directory's content. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function exportTo(
  context: CommandContext,
  stream: Writable,
  job: ExportJob,
  progress?: Progress,
): Promise<number> {
  let count = 0;
  await context.withClient(async (client) => {
    if (job.head !== '') await write(stream, job.head);
    // A page is taken only when the one before went out: a slow reader slows the scan, not the memory.
    for await (const page of client.pages(job.span)) {
      let text = '';
      for (const row of page.rows) {
        if (row.kind !== 'bytes') throw notExportable(context, row);
        text += job.render(row);
      }
      await write(stream, text);
      count += page.rows.length;
      progress?.update({ rows: count, bytes: 0 });
    }
  });
  progress?.clear();
  if (context.io.signal.aborted) throw new CairnError('CANCELLED', 'interrupted');
  return count;
}

/** An export without it would not be what was asked for, and nobody would notice. */
function notExportable(context: CommandContext, { key, kind }: Row): CairnError {
  return new CairnError('WRONG_KIND', `${context.show(key)} holds a ${kind}, and only bytes can be exported`);
}

const ndjsonRow: RenderRow = (row) => {
  const { expires } = jsonExpiry(row);
  const end = expires === undefined ? '' : `,"expires":"${expires}"`;
  return `{"key":${jsonField(row.key)},"value":${jsonField(row.value)}${end}}\n`;
};

/** Text as a string; what is no text, or grows too much as text, as base64. */
function jsonField(bytes: Buffer): string {
  const shown = JSON.stringify(jsonBytes(bytes));
  return isWasteful(bytes, shown) ? `{"base64":"${bytes.toString('base64')}"}` : shown;
}

/**
 * Text full of control characters or quotes grows up to six times. Base64 from here on keeps every row below
 * the length that import takes, whatever key and value are: they grow by a half at most.
 */
function isWasteful(bytes: Buffer, shown: string): boolean {
  return Buffer.byteLength(shown) > bytes.length * 1.5 + 256;
}

const csvRow: RenderRow = (row) => {
  const [key, value] = [csvText(row.key), csvText(row.value)];
  const expires = jsonExpiry(row).expires ?? '';
  if (key !== undefined && value !== undefined) return `${key},${value},,${expires}\n`;
  return `${row.key.toString('base64')},${row.value.toString('base64')},base64,${expires}\n`;
};

function csvText(bytes: Buffer): string | undefined {
  const text = utf8OrUndefined(bytes);
  const cell = text === undefined ? undefined : csvCell(text);
  return cell === undefined || isWasteful(bytes, cell) ? undefined : cell;
}

function csvCell(text: string): string {
  return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function isCsvFormat(file: string | undefined, flag: string | undefined): boolean {
  if (flag === 'csv' || flag === 'ndjson') return flag === 'csv';
  if (flag !== undefined) throw new UsageError(`--format "${flag}" is not known; there are ndjson and csv`);
  return file !== undefined && extname(file).toLowerCase() === '.csv';
}
