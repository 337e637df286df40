import { printableLines, timestamp, TIMESTAMP_LOGICAL_STEPS, timestampToUnixMs } from '@cairn/base';
import type { CairnClient, Hold, Holds } from '@cairn/client';
import type { Command } from 'commander';
import { durationOf, wholeNumberOf, type RunAction } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import { renderTable, type Column } from '../render/table.js';
import { showDuration } from '../render/units.js';

const COLUMNS: readonly Column[] = [
  { title: 'name' },
  { title: 'timestamp', align: 'right' },
  { title: 'back', align: 'right' },
  { title: 'ends in', align: 'right' },
  { title: 'state' },
  { title: 'reason' },
];

/** How far a timestamp lies behind another one, as a span of time. */
export function backText(at: number, newest: number): string {
  return showDuration(Math.max(0, newest - at) / TIMESTAMP_LOGICAL_STEPS);
}

/** Of the status: how far back old versions are kept, and why further than usual. */
export function historyText(status: {
  readonly timestamp: number;
  readonly gcSafePoint: number;
  readonly gcPinnedBy: string;
}): string {
  if (status.gcSafePoint === 0) return 'all of it, nothing is collected yet';
  const back = `${backText(status.gcSafePoint, status.timestamp)} back`;
  return status.gcPinnedBy === '' ? back : `${back}, kept by ${printableLines(status.gcPinnedBy)}`;
}

/** holds, holds add, holds remove. */
export function registerHolds(program: Command, run: RunAction): void {
  const holds = program
    .command('holds')
    .description('what keeps old versions from being collected')
    .addHelpText(
      'after',
      `
Examples:
  cairn holds
  cairn holds --json | jq -r .pinnedBy
  cairn holds add nightly --ttl 1h               everything a read now sees stays readable for an hour
  cairn holds add audit --at -10m --ttl 2h       as of ten minutes ago
  cairn holds remove nightly

Old versions are kept for gc.life_seconds, for transactions that run, and for holds. A hold ends by itself;
whoever needs it for longer adds it again before that. None reaches further back than gc.hold_max_seconds.`,
    )
    .action(
      run(async (context) => {
        const all = await context.withClient((client) => client.holds({ signal: context.io.signal }));
        if (context.isJson) await context.json(all);
        else await context.print(holdsText(all));
        return ExitCode.ok;
      }),
    );
  holds
    .command('add <name>')
    .description('make a hold, or renew the one of that name')
    .option('--at <when>', 'a timestamp, or how long ago (-10s); left out: now, or what is held already')
    .option('--ttl <duration>', 'it ends by itself after this long', '1h')
    .option('--reason <text>', 'for people who wonder', '')
    .action(
      run<{ at?: string; ttl: string; reason: string }>(async (context, [name = ''], { at, ttl, reason }) => {
        const ttlMs = durationOf(ttl, '--ttl');
        const timestampOf = at === undefined ? undefined : whenOf(at);
        const { signal } = context.io;
        const hold = await context.withClient(async (client) => {
          const when = timestampOf === undefined ? {} : { timestamp: await timestampOf(client, signal) };
          return client.putHold(name, { ttlMs, reason, ...when, signal });
        });
        if (context.isJson) await context.json(hold);
        else await context.line(`${hold.name} holds ${hold.timestamp} for ${showDuration(ttlMs)}`);
        return ExitCode.ok;
      }),
    );
  holds
    .command('remove <name>')
    .description('end a hold at once; exits with 1 when there is none')
    .action(
      run(async (context, [name = '']) => {
        const { signal } = context.io;
        const deleted = await context.withClient((client) => client.deleteHold(name, { signal }));
        if (context.isJson) await context.json({ deleted });
        else await context.line(deleted ? `${name} holds nothing any more` : `there is no hold ${name}`);
        return deleted ? ExitCode.ok : ExitCode.notMet;
      }),
    );
}

/** `1234` is a timestamp, `-10s` so long before now. */
function whenOf(text: string): (client: CairnClient, signal: AbortSignal) => Promise<number> {
  if (!text.startsWith('-')) {
    const at = wholeNumberOf(text, '--at');
    return () => Promise.resolve(at);
  }
  const agoSteps = durationOf(text.slice(1), '--at') * TIMESTAMP_LOGICAL_STEPS;
  return async (client, signal) => Math.max(1, (await client.timestamp({ signal })) - agoSteps);
}

function holdsText({ holds, ...rest }: Holds): string {
  const table = renderTable(
    COLUMNS,
    holds.map((hold) => cellsOf(hold, rest.timestamp)),
    'hold',
  );
  const history = historyText({ ...rest, gcSafePoint: rest.safePoint, gcPinnedBy: rest.pinnedBy });
  return `${table}\nhistory: ${history}\n`;
}

function cellsOf(hold: Hold, newest: number): string[] {
  return [
    hold.name,
    String(hold.timestamp),
    backText(hold.timestamp, newest),
    showDuration(Math.max(0, hold.expiresUnixMs - timestampToUnixMs(timestamp(newest)))),
    hold.capped ? 'too old, holds nothing' : 'holds',
    hold.reason,
  ];
}
