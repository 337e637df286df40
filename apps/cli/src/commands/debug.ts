import { printableLines } from '@cairn/base';
import type { Command } from 'commander';
import type { RunAction } from '../context.js';
import { ExitCode, UsageError } from '../exit-codes.js';
import { storeIdOf } from './store-id.js';

interface DebugOptions {
  readonly range?: string;
}

/** debug. */
export function registerDebug(program: Command, run: RunAction): void {
  program
    .command('debug <node>')
    .description('what a shard node knows at this moment, for people')
    .option('--range <id>', 'of its replica of this range alone, and of the state machine behind it')
    .addHelpText(
      'after',
      `
Examples:
  cairn debug shard-2              its store, the stores it hears, its replicas
  cairn debug shard-2 --range 7    one replica: roles, terms, indexes, what each member has; and its machine

"12 leader t7" is replica 12, leader in term 7. Members are replica ids, except where a word says "store".
v= voters, o= voters on their way out, l= learners; handed= what was given out to be applied; held= until
when it votes for nobody, now= its clock; told= the commit index that a member knows; keys are hexadecimal.
All words: docs/operations.md, "Engines".

The node is named, or given by its store id. Replicas with something under way come first, 256 at most. The
form of the text may change with every release: programs read cairn ranges --json and the metrics.`,
    )
    .action(
      run<DebugOptions>(async (context, [name = ''], { range }) => {
        const rangeId = range === undefined ? 0 : Number(range);
        if (range !== undefined && !/^[1-9]\d{0,14}$/.test(range)) {
          throw new UsageError(`--range is a number from cairn ranges, not "${range}"`);
        }
        return context.withClient(async (client) => {
          const storeId = await storeIdOf(client, context, name);
          const text = await client.debug(storeId, { rangeId, signal: context.io.signal });
          if (context.isJson) await context.json({ storeId, rangeId, text });
          else await context.line(printableLines(text));
          return ExitCode.ok;
        });
      }),
    );
}
