import type { CairnClient, Engine } from '@cairn/client';
import type { Command } from 'commander';
import type { CommandContext, RunAction } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import { renderTable, type Column } from '../render/table.js';
import { showCount, showDuration, showSize } from '../render/units.js';
import { storeIdOf } from './store-id.js';

/** How often `compact --wait` asks. */
const WAIT_INTERVAL_MS = 500;
/** It gives up on a node that has told nothing for so long. */
const SILENCE_MS_MAX = 30_000;

/** engines, compact. */
export function registerEngineCommands(program: Command, run: RunAction): void {
  registerEngines(program, run);
  registerCompact(program, run);
}

const COLUMNS: readonly Column[] = [
  { title: 'node' },
  { title: 'store', align: 'right' },
  { title: 'engine' },
  { title: 'disk', align: 'right' },
  { title: 'memory', align: 'right' },
  { title: 'not written out', align: 'right' },
  { title: 'cache hits', align: 'right' },
  { title: 'to merge', align: 'right' },
  { title: 'levels' },
  { title: 'compaction' },
];
const UNKNOWN = '-';

function registerEngines(program: Command, run: RunAction): void {
  program
    .command('engines')
    .description('what the storage engines of shard nodes hold')
    .addHelpText(
      'after',
      `
Examples:
  cairn engines
  cairn engines --json | jq '{name, diskBytes, pendingMergeBytes}'

A level is shown as number: runs/tables size. What an engine cannot tell is "${UNKNOWN}";
classic-level tells the sizes of its levels in whole MiB, rounded.
Exits with 1 when a node does not tell.`,
    )
    .action(
      run(async (context) => {
        const engines = await context.withClient((client) => client.engines({ signal: context.io.signal }));
        if (context.isJson) for (const engine of engines) await context.json(engine);
        else await context.print(renderTable(COLUMNS, engines.map(cellsOf), 'engine'));
        return engines.every(({ problem }) => problem === '') ? ExitCode.ok : ExitCode.notMet;
      }),
    );
}

function cellsOf(engine: Engine): string[] {
  const { name, storeId, problem } = engine;
  if (problem !== '') return [name, String(storeId), problem, '', '', '', '', '', '', ''];
  const size = (bytes: number | undefined): string => (bytes === undefined ? UNKNOWN : showSize(bytes));
  return [
    name,
    String(storeId),
    engine.engine,
    size(engine.diskBytes),
    size(engine.memoryBytes),
    size(engine.memtableBytes),
    hitsText(engine),
    size(engine.pendingMergeBytes),
    engine.levels
      .filter(({ tables }) => tables > 0)
      .map(({ level, runs, tables, bytes }) => `${level}: ${runs}/${showCount(tables)} ${showSize(bytes)}`)
      .join(', '),
    compactionText(engine),
  ];
}

function hitsText({ cacheHits, cacheMisses }: Engine): string {
  if (cacheHits === undefined || cacheMisses === undefined) return UNKNOWN;
  const looks = cacheHits + cacheMisses;
  return looks === 0 ? UNKNOWN : `${((cacheHits / looks) * 100).toFixed(1)} %`;
}

function compactionText({ compaction }: Engine): string {
  if (compaction === undefined) return '';
  const { running, durationMs, problem } = compaction;
  if (running) return `runs for ${showDuration(durationMs)}`;
  return problem === '' ? `done in ${showDuration(durationMs)}` : `not done: ${problem}`;
}

interface CompactOptions {
  readonly start?: string;
  readonly end?: string;
  readonly wait?: boolean;
}

function registerCompact(program: Command, run: RunAction): void {
  program
    .command('compact <node>')
    .description('merge what the engine of a shard node holds, for its space')
    .option('--start <key>', 'from this key on')
    .option('--end <key>', 'up to this key, which is not in it')
    .option('--wait', 'until it is done, without a limit unless --timeout is given')
    .addHelpText(
      'after',
      `
Examples:
  cairn compact shard-2 --wait
  cairn compact 3 --start city/ --end city0    a span of the node with store id 3

The node is named, or given by its store id. Engines merge by themselves when it is worth it; this is for
afterwards, when much was deleted and the space is wanted now. It costs processor and disk of that node
until it is done. One node compacts one span at a time.`,
    )
    .action(
      run<CompactOptions>(async (context, [name = ''], { start, end, wait = false }) => {
        const span = {
          ...(start === undefined ? {} : { start: context.bytes(start, '--start') }),
          ...(end === undefined ? {} : { end: context.bytes(end, '--end') }),
        };
        return context.withClient(async (client) => {
          const storeId = await storeIdOf(client, context, name);
          await client.compactEngine(storeId, { ...span, signal: context.io.signal });
          if (!wait) {
            if (context.isJson) await context.json({ storeId, running: true });
            else await context.line('begun; cairn engines tells when it is done');
            return ExitCode.ok;
          }
          return waitFor(client, context, storeId);
        });
      }),
    );
}

async function waitFor(client: CairnClient, context: CommandContext, storeId: number): Promise<ExitCode> {
  const { signal } = context.io;
  let heardMs = performance.now();
  const end = context.timeoutMs === undefined ? Infinity : performance.now() + context.timeoutMs;
  for (;;) {
    const [engine] = await client.engines({ storeId, signal });
    const problem = engine?.problem ?? 'the node is not listed';
    if (engine !== undefined && problem === '') {
      heardMs = performance.now();
      const { compaction } = engine;
      if (compaction === undefined) {
        await context.note('the node was started anew, the compaction is gone');
        return ExitCode.notMet;
      }
      if (!compaction.running) {
        if (context.isJson) await context.json({ storeId, ...compaction });
        else await context.line(compactionText(engine));
        return compaction.problem === '' ? ExitCode.ok : ExitCode.refused;
      }
    }
    // A node that does not answer for a moment may still be at it.
    if (performance.now() - heardMs > SILENCE_MS_MAX) {
      await context.note(`the node does not tell any more: ${problem}`);
      return ExitCode.unreachable;
    }
    if (performance.now() > end) {
      await context.note('not done yet; cairn engines tells when it is');
      return ExitCode.unreachable;
    }
    await pause(signal);
  }
}

/** Ends early when the command is interrupted: the next call rejects then. */
function pause(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, WAIT_INTERVAL_MS);
    signal.addEventListener('abort', done);
  });
}
