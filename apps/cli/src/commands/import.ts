import { createReadStream } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { extname, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import type { CairnClient, PutOptions } from '@cairn/client';
import type { Command } from 'commander';
import { countOf, durationOf, wholeNumberOf, type CommandContext, type RunAction } from '../context.js';
import { ExitCode, UsageError } from '../exit-codes.js';
import { fileFailure, withFile } from '../files.js';
import { readCsv } from '../import/csv-source.js';
import { ImportRun, WINDOW_ROWS_MAX } from '../import/import-run.js';
import {
  mappingOf,
  neededFields,
  START,
  type ImportItem,
  type Mapping,
  type ResumePoint,
} from '../import/mapping.js';
import { readNdjson } from '../import/ndjson-source.js';
import {
  loadResumeState,
  removeResumeState,
  saveResumeState,
  type ResumeState,
} from '../import/resume-state.js';
import { textDecoderOf, type DecodeText } from '../import/text-encoding.js';
import { Progress } from '../progress.js';
import { rowsText, showCount, showDuration, showRate } from '../render/units.js';

interface ImportFlags {
  readonly format?: string;
  readonly key?: string;
  readonly keyField?: string;
  readonly valueField?: string;
  readonly delimiter?: string;
  readonly encoding: string;
  readonly window: string;
  readonly ttl?: string;
  readonly resume?: boolean;
  readonly restart?: boolean;
  readonly resumeFile?: string;
  readonly rejects?: string;
  readonly showRejects: string;
}

type Format = 'ndjson' | 'csv';

/** A row waits this long for a cluster that is recovering before the import stops. */
const ROW_TIMEOUT_MS = 60_000;
const SAVE_INTERVAL_MS = 1_000;

export function registerImport(program: Command, run: RunAction): void {
  program
    .command('import <file>')
    .description('load rows from a file, or from standard input with -')
    .option(
      '--format <format>',
      'ndjson or csv (default: by the name of the file, .csv or .tsv, else ndjson)',
    )
    .option('--key <template>', 'key of each row, made of its fields: "{country}/{name}/{id}"')
    .option('--key-field <field>', 'field that holds the key (default "key")')
    .option(
      '--value-field <field>',
      'field that holds the value (default "value", with a key option the whole row as JSON)',
    )
    .option('--delimiter <character>', 'between CSV columns (default: ",", in .tsv files a tab)')
    .option('--encoding <label>', 'how the text is encoded: utf-8, latin1, windows-1252, ...', 'utf-8')
    .option('--window <rows>', `most rows on their way at a time, up to ${WINDOW_ROWS_MAX}`, '512')
    .option('--ttl <duration>', 'every row removes itself after this long, e.g. 30s, 1h, 7d')
    .option('--resume', 'go on where an interrupted import of this file stopped')
    .option('--restart', 'forget the interrupted import and begin again')
    .option('--resume-file <path>', 'where to keep the state (default: FILE.cairn-import)')
    .option('--rejects <path>', 'write rejected lines to this file, as {"line","reason","text"}')
    .option('--show-rejects <count>', 'rejected lines to show', '10')
    .addHelpText(
      'after',
      `
NDJSON has one JSON object per line; CSV names its columns in the first line. Numbers keep their text.
Rejected rows are reported by line and do not stop the import. If it is interrupted, run it again
with --resume: what was acknowledged is not sent again. The later of two rows with one key wins.

Examples:
  cairn import cities.ndjson --key "city/{country}/{name}"
  cairn import users.csv --key-field email --rejects bad.ndjson
  cairn export --prefix city/ | cairn import - --endpoint other:7100
  cairn import cities.ndjson --key "city/{country}/{name}" --resume

Exits with 1 when rows were rejected.`,
    )
    .action(
      run<ImportFlags>((context, [file = ''], options) => new ImportCommand(context, file, options).run()),
    );
}

/** One `cairn import`: from flags to summary. */
class ImportCommand {
  readonly #context: CommandContext;
  readonly #file: string;
  readonly #flags: ImportFlags;
  readonly #format: Format;
  readonly #delimiter: string;
  readonly #mapping: Mapping;
  readonly #decode: DecodeText;
  readonly #window: number;
  readonly #put: PutOptions;
  readonly #rejectsShownMax: number;
  /** undefined: what is read is no file, and cannot be read again. */
  #statePath: string | undefined;
  #size: number | undefined;
  #modifiedMs = 0;
  #rejectsFile: FileHandle | undefined;
  #rejectLines: string[] = [];
  #rejectsShown = 0;

  constructor(context: CommandContext, file: string, flags: ImportFlags) {
    this.#context = context;
    this.#file = file === '-' || file === '/dev/stdin' ? '-' : resolve(context.io.cwd, file);
    this.#flags = flags;
    this.#format = formatOf(file, flags.format);
    if (flags.key !== undefined && flags.keyField !== undefined) {
      throw new UsageError('give --key or --key-field, not both');
    }
    if (flags.resume === true && flags.restart === true)
      throw new UsageError('choose one of --resume and --restart');
    this.#delimiter = flags.delimiter ?? (extname(file).toLowerCase() === '.tsv' ? '\t' : ',');
    if (Buffer.byteLength(this.#delimiter) !== 1) {
      throw new UsageError(`--delimiter "${this.#delimiter}" is not a single character of one byte`);
    }
    this.#window = countOf(flags.window, '--window', 1, WINDOW_ROWS_MAX);
    this.#put = flags.ttl === undefined ? {} : { ttlMs: durationOf(flags.ttl, '--ttl') };
    this.#rejectsShownMax = wholeNumberOf(flags.showRejects, '--show-rejects');
    this.#mapping = mappingOf(flags);
    this.#decode = textDecoderOf(flags.encoding);
  }

  async run(): Promise<ExitCode> {
    await this.#look();
    const earlier = await this.#earlierState();
    if (this.#flags.rejects !== undefined) {
      const path = resolve(this.#context.io.cwd, this.#flags.rejects);
      this.#rejectsFile = await withFile(path, 'written', () =>
        open(path, earlier === undefined ? 'w' : 'a'),
      );
    }
    try {
      return await this.#context.withClient((client) => this.#import(client, earlier), {
        timeoutMs: ROW_TIMEOUT_MS,
        windsUp: true,
      });
    } finally {
      await this.#rejectsFile?.close();
    }
  }

  /** Whether it is a file, or something that is read once: a pipe, or a device. */
  async #look(): Promise<void> {
    const facts = this.#file === '-' ? undefined : await withFile(this.#file, 'read', () => stat(this.#file));
    if (facts?.isDirectory() === true) throw new UsageError(`${this.#file} is a directory`);
    if (facts?.isFile() === true) {
      this.#statePath = resolve(this.#context.io.cwd, this.#flags.resumeFile ?? `${this.#file}.cairn-import`);
      this.#size = facts.size;
      this.#modifiedMs = Math.floor(facts.mtimeMs);
    } else if (this.#flags.resume === true) {
      const name = this.#file === '-' ? 'standard input' : this.#file;
      throw new UsageError(`${name} cannot be resumed; import from a file`);
    }
  }

  async #earlierState(): Promise<ResumeState | undefined> {
    if (this.#statePath === undefined) return undefined;
    if (this.#flags.restart === true) {
      await removeResumeState(this.#statePath);
      return undefined;
    }
    const state = await loadResumeState(this.#statePath);
    if (state === undefined) {
      if (this.#flags.resume === true) {
        await this.#context.note('nothing to resume; importing from the beginning');
      }
      return undefined;
    }
    if (this.#flags.resume !== true) {
      const done = rowsText(state.imported);
      throw new UsageError(
        `an earlier import of this file stopped after ${done}; use --resume to go on, or --restart`,
      );
    }
    if (state.size !== this.#size || state.modifiedMs !== this.#modifiedMs) {
      throw new UsageError('the file has changed since the import stopped; begin again with --restart');
    }
    if (state.mapping !== this.#mappingName()) {
      throw new UsageError(
        'the import was begun with other key, value or format options; use the same, or --restart',
      );
    }
    return state;
  }

  #mappingName(): string {
    const { key, keyField, valueField, encoding } = this.#flags;
    const fields = [key ?? null, keyField ?? null, valueField ?? null];
    return JSON.stringify([this.#format, ...fields, this.#delimiter, encoding]);
  }

  async #import(client: CairnClient, earlier: ResumeState | undefined): Promise<ExitCode> {
    const start = earlier?.point ?? START;
    const before = earlier?.imported ?? 0;
    const io = this.#context.io;
    const progress = new Progress(io, 'imported', this.#size, { rows: before, bytes: start.offset });
    let savedMs = io.nowMs();
    const run = new ImportRun({
      client,
      window: this.#window,
      put: this.#put,
      start,
      signal: io.signal,
      onRejected: (item, reason) => this.#onRejected(item, reason, progress),
      onItem: async (current) => {
        progress.update({ rows: before + current.imported, bytes: current.point.offset });
        if (this.#rejectLines.length > 0) await this.#writeRejects();
        if (io.nowMs() - savedMs < SAVE_INTERVAL_MS) return;
        savedMs = io.nowMs();
        await this.#save(current, earlier);
      },
    });
    const source = this.#openSource(start);
    try {
      await run.run(this.#items(source, start));
    } catch (error) {
      progress.clear();
      // What the state calls done must be in the file of rejects before it.
      await this.#writeRejects();
      await this.#save(run, earlier);
      throw fileFailure(error, this.#file, 'read');
    } finally {
      progress.clear();
      await this.#writeRejects();
      if (this.#file !== '-') source.destroy();
    }
    return this.#finish(run, earlier, progress);
  }

  #openSource(start: ResumePoint): Readable {
    if (this.#file === '-') return this.#context.io.stdin;
    // CSV is read from its first byte, see readCsv. A pipe has no places to begin at.
    const from = this.#statePath === undefined ? {} : { start: this.#format === 'csv' ? 0 : start.offset };
    return createReadStream(this.#file, { ...from, highWaterMark: 256 * 1024 });
  }

  #items(source: Readable, start: ResumePoint): AsyncIterable<ImportItem> {
    if (this.#format === 'csv') {
      const needed = neededFields(this.#flags);
      const options = { delimiter: this.#delimiter, decode: this.#decode, needed };
      return readCsv(source, start, this.#mapping, options);
    }
    return readNdjson(source as AsyncIterable<Buffer>, start, this.#mapping, this.#decode);
  }

  #onRejected(item: ImportItem, reason: string, progress: Progress): void {
    if (this.#rejectsFile !== undefined) {
      this.#rejectLines.push(`${JSON.stringify({ line: item.line, reason, text: item.text })}\n`);
    }
    if (this.#rejectsShown >= this.#rejectsShownMax) return;
    this.#rejectsShown += 1;
    progress.clear();
    const rejected = { line: item.line, reason };
    const told = this.#context.isJson ? JSON.stringify({ rejected }) : `${linesOf(item)}: ${reason}`;
    this.#context.io.stderr.write(`${told}\n`);
  }

  async #writeRejects(): Promise<void> {
    if (this.#rejectLines.length === 0) return;
    const lines = this.#rejectLines.join('');
    this.#rejectLines = [];
    const path = this.#flags.rejects ?? '';
    await withFile(path, 'written', async () => this.#rejectsFile?.write(lines));
  }

  async #save(run: ImportRun, earlier: ResumeState | undefined): Promise<void> {
    // Nothing is done yet: there is nothing to go on from, and the next try needs no --resume.
    if (this.#statePath === undefined || run.point.offset === 0) return;
    await saveResumeState(this.#statePath, {
      version: 2,
      size: this.#size ?? 0,
      modifiedMs: this.#modifiedMs,
      mapping: this.#mappingName(),
      point: run.point,
      imported: (earlier?.imported ?? 0) + run.imported,
      rejected: (earlier?.rejected ?? 0) + run.rejected,
    });
  }

  async #finish(run: ImportRun, earlier: ResumeState | undefined, progress: Progress): Promise<ExitCode> {
    const imported = (earlier?.imported ?? 0) + run.imported;
    const rejected = (earlier?.rejected ?? 0) + run.rejected;
    if (run.failure !== undefined || this.#context.io.signal.aborted) {
      await this.#save(run, earlier);
      const canResume = this.#statePath !== undefined && run.point.offset > 0;
      const hint = canResume ? '; run the same command with --resume to go on' : '';
      await this.#context.note(`stopped after ${rowsText(imported)} (line ${run.point.line})${hint}`);
      if (run.failure !== undefined) throw run.failure;
      return ExitCode.interrupted;
    }
    if (this.#statePath !== undefined) await removeResumeState(this.#statePath);
    if (this.#context.isJson) {
      await this.#context.json({ imported, rejected, elapsedMs: Math.round(progress.elapsedMs) });
    } else await this.#context.line(this.#summary(run, imported, rejected, progress));
    return rejected === 0 ? ExitCode.ok : ExitCode.notMet;
  }

  #summary(run: ImportRun, imported: number, rejected: number, progress: Progress): string {
    const seconds = Math.max(0.001, progress.elapsedMs / 1000);
    const rate = `${showDuration(progress.elapsedMs)}, ${showRate(run.imported / seconds)} rows/s`;
    const summary = `${rowsText(imported)} imported in ${rate}`;
    if (rejected === 0) return summary;
    const hidden = run.rejected - this.#rejectsShown;
    const where =
      this.#flags.rejects === undefined
        ? 'see all of them with --rejects FILE'
        : `see ${this.#flags.rejects}`;
    const rest = hidden > 0 ? ` (${showCount(hidden)} not shown; ${where})` : '';
    return `${summary}; ${showCount(rejected)} rejected${rest}`;
  }
}

function linesOf({ line, next }: ImportItem): string {
  return next.line > line ? `lines ${line} to ${next.line}` : `line ${line}`;
}

function formatOf(file: string, flag: string | undefined): Format {
  if (flag === 'ndjson' || flag === 'csv') return flag;
  if (flag !== undefined) throw new UsageError(`--format "${flag}" is not known; there are ndjson and csv`);
  const extension = extname(file).toLowerCase();
  return extension === '.csv' || extension === '.tsv' ? 'csv' : 'ndjson';
}
