import {
  NodeKind,
  NodeState,
  RangeState,
  type CairnClient,
  type Node,
  type RangeInfo,
  type StatusResponse,
} from '@cairn/client';
import type { Command } from 'commander';
import { wholeNumberOf, type CommandContext, type RunAction } from '../context.js';
import { ExitCode, UsageError } from '../exit-codes.js';
import { jsonBytes, shorten } from '../render/bytes.js';
import { renderTable, wrap, type Column } from '../render/table.js';
import { showCount, showDuration, showRate, showSize } from '../render/units.js';
import { historyText } from './holds.js';
import { HOLD, statusWithHold, upgradeFacts, upgradeJson, type UpgradeStatus } from './upgrade.js';

/** status, nodes, ranges, split, settings. */
export function registerAdminCommands(program: Command, run: RunAction): void {
  registerStatus(program, run);
  registerNodes(program, run);
  registerRanges(program, run);
  registerSplit(program, run);
  registerSettings(program, run);
}

function kindName(kind: NodeKind): string {
  switch (kind) {
    case NodeKind.METADATA:
      return 'metadata';
    case NodeKind.SHARD:
      return 'shard';
    case NodeKind.ROUTER:
      return 'router';
    case NodeKind.UNSPECIFIED:
      return 'unknown';
    default:
      return 'unknown';
  }
}

function registerStatus(program: Command, run: RunAction): void {
  program
    .command('status')
    .description('how the cluster is, on one screen')
    .addHelpText(
      'after',
      `
Examples:
  cairn status
  cairn status --json | jq .health

Healthy, "needs attention" with all that does, or "settling" with what is not known yet: the cluster
starts, or its metadata leader is new. A node counts as gone after 5 s of silence, a store that was
declared lost does not count. Exits with 1 unless the cluster is healthy.`,
    )
    .action(
      run(async (context) => {
        const status = await context.withClient((client) => statusWithHold(client, context.io.signal));
        const problems = problemsOf(status);
        if (context.isJson) await context.json(statusJson(status, problems));
        else await context.print(statusText(status, problems));
        return healthOf(status, problems) === 'healthy' ? ExitCode.ok : ExitCode.notMet;
      }),
    );
}

/** What needs attention, worst first, as sentences. */
function problemsOf(status: StatusResponse): string[] {
  const problems = [...status.problems];
  for (const id of status.givenUpStoreIds) {
    const name = status.nodes.find(({ storeId }) => storeId === id)?.name ?? `store ${id}`;
    problems.push(`${name} leaves the requests of this router unanswered, and is given up for a while`);
  }
  return problems;
}

/** "attention" goes before "settling": what is wrong is wrong, whatever is not known besides. */
function healthOf(status: StatusResponse, problems: readonly string[]): 'healthy' | 'attention' | 'settling' {
  if (problems.length > 0) return 'attention';
  return status.unsettled.length > 0 ? 'settling' : 'healthy';
}

function plural(count: number, one: string, many: string): string {
  return count === 1 ? one : many;
}

function statusText(status: StatusResponse & UpgradeStatus, problems: readonly string[]): string {
  const health = healthOf(status, problems);
  const kinds = [NodeKind.METADATA, NodeKind.SHARD, NodeKind.ROUTER].map((kind) => [
    kindName(kind),
    countText(status.nodes.filter((node) => node.kind === kind)),
  ]);
  const facts = [
    ['cluster', status.clusterId],
    ['version', `${status.serverVersion}, cluster version ${status.clusterVersion}`],
    ...upgradeFacts(status),
    ['health', health === 'attention' ? 'needs attention' : health],
    ...kinds,
    ['ranges', showCount(status.ranges) + (status.unsettled.length === 0 ? '' : ' known so far')],
    ['reads', `${showRate(status.readsPerSecond)} / s`],
    ['writes', `${showRate(status.writesPerSecond)} / s`],
    ['history', historyText(status)],
  ];
  const lines = facts.map(([name = '', value = '']) => `${name.padEnd(9)} ${value}`);
  const notes = [
    ...problems.map((problem) => `  ! ${problem}`),
    ...[...status.unsettled, ...status.upgradeWaits].map((sentence) => `  … ${sentence}`),
  ];
  const next = problems.length === 0 ? [] : ['See: cairn nodes, cairn ranges'];
  return `${[...lines, ...notes, ...next].join('\n')}\n`;
}

/** Lost stores are none of the nodes that there should be. */
function countText(nodes: readonly Node[]): string {
  const countOf = (state: NodeState): number => nodes.filter((node) => node.state === state).length;
  const lost = countOf(NodeState.LOST);
  const unheard = countOf(NodeState.NOT_HEARD_YET);
  return [
    `${countOf(NodeState.LIVE)} of ${nodes.length - lost} live`,
    ...(unheard > 0 ? [`${unheard} not heard from yet`] : []),
    ...(lost > 0 ? [`${lost} declared lost`] : []),
  ].join(', ');
}

function statusJson(status: StatusResponse & UpgradeStatus, problems: readonly string[]): unknown {
  return {
    clusterId: status.clusterId,
    serverVersion: status.serverVersion,
    health: healthOf(status, problems),
    problems,
    unsettled: status.unsettled,
    ...upgradeJson(status),
    ranges: status.ranges,
    rangesWithoutLeader: status.rangesWithoutLeader,
    rangesUnderReplicated: status.rangesUnderReplicated,
    readsPerSecond: status.readsPerSecond,
    writesPerSecond: status.writesPerSecond,
    timestamp: status.timestamp,
    gcSafePoint: status.gcSafePoint,
    gcPinnedBy: status.gcPinnedBy,
    nodes: status.nodes.map(nodeJson),
  };
}

function nodeJson(node: Node): unknown {
  return { ...node, kind: kindName(node.kind), state: stateName(node) };
}

function stateName({ state }: Node): string {
  switch (state) {
    case NodeState.LIVE:
      return 'live';
    case NodeState.NOT_HEARD_YET:
      return 'not heard yet';
    case NodeState.GONE:
      return 'gone';
    case NodeState.LOST:
      return 'declared lost';
    case NodeState.UNSPECIFIED:
      return 'unknown';
    default:
      return 'unknown';
  }
}

const NODE_COLUMNS: readonly Column[] = [
  { title: 'name' },
  { title: 'kind' },
  { title: 'address' },
  { title: 'state' },
  { title: 'store', align: 'right' },
  { title: 'replicas', align: 'right' },
  { title: 'leaders', align: 'right' },
  { title: 'data', align: 'right' },
  { title: 'disk free', align: 'right' },
  { title: 'reads/s', align: 'right' },
  { title: 'writes/s', align: 'right' },
  { title: 'up', align: 'right' },
  { title: 'release' },
];

function registerNodes(program: Command, run: RunAction): void {
  program
    .command('nodes')
    .description('every process of the cluster, with load and disk')
    .addHelpText(
      'after',
      `
Examples:
  cairn nodes
  cairn nodes --json | jq 'select(.live | not) | .name'

A router that stops leaves the list at once; one that died leaves it after two minutes. A store that was
declared lost leaves it when no range names it any more. How long metadata members are up is known of the
one that leads, the others leave "up" empty.`,
    )
    .action(
      run(async (context) => {
        const nodes = await context.withClient((client) => client.nodes({ signal: context.io.signal }));
        if (context.isJson) {
          for (const node of nodes) await context.json(nodeJson(node));
        } else {
          const unixMs = context.io.unixMs();
          await context.print(
            renderTable(
              NODE_COLUMNS,
              nodes.map((node) => nodeCells(node, unixMs)),
              'node',
            ),
          );
        }
        return ExitCode.ok;
      }),
    );
}

function nodeCells(node: Node, unixMs: number): string[] {
  const isStore = node.kind === NodeKind.SHARD;
  const ofStore = (text: string): string => (isStore ? text : '');
  const name = stateName(node);
  const state =
    node.state === NodeState.GONE
      ? `gone for ${showDuration(node.lastSeenMs)}`
      : node.leader
        ? `${name}, leads`
        : name;
  return [
    node.name,
    kindName(node.kind),
    node.address,
    state,
    ofStore(String(node.storeId)),
    ofStore(showCount(node.replicas)),
    ofStore(showCount(node.leaders)),
    ofStore(showSize(node.dataBytes)),
    node.diskFreeBytes > 0 ? showSize(node.diskFreeBytes) : '',
    ofStore(showRate(node.readsPerSecond)),
    ofStore(showRate(node.writesPerSecond)),
    node.live && node.startedUnixMs > 0 ? showDuration(unixMs - node.startedUnixMs) : '',
    node.release,
  ];
}

const RANGE_COLUMNS: readonly Column[] = [
  { title: 'range', align: 'right' },
  { title: 'start' },
  { title: 'end' },
  { title: 'leader', align: 'right' },
  { title: 'replicas' },
  { title: 'size', align: 'right' },
  { title: 'reads/s', align: 'right' },
  { title: 'writes/s', align: 'right' },
  { title: 'epoch', align: 'right' },
];
const KEY_CELL_CHARACTERS = 32;
const RANGE_STATES: Readonly<Record<RangeState, string>> = {
  [RangeState.UNSPECIFIED]: 'unknown',
  [RangeState.LED]: 'led',
  [RangeState.NO_LEADER]: 'no leader',
  [RangeState.MISSING]: 'missing',
  [RangeState.NOT_KNOWN_YET]: 'not known yet',
};

function registerRanges(program: Command, run: RunAction): void {
  program
    .command('ranges')
    .description('how the key space is divided, in key order')
    .option('--start <key>', 'from the range that holds this key on')
    .option('-n, --limit <ranges>', 'most ranges; 0 = all', '0')
    .addHelpText(
      'after',
      `
Examples:
  cairn ranges
  cairn ranges --start city/rome --limit 1    the range that holds a key

Replicas are store ids; * leads, (learner) does not vote yet.
A span that no live node reports is listed as missing. While the metadata leader is new, what it has
not heard yet is "not known yet".`,
    )
    .action(
      run<{ start?: string; limit: string }>(async (context, _args, options) => {
        const start = options.start === undefined ? {} : { start: context.bytes(options.start, '--start') };
        const limit = wholeNumberOf(options.limit, '--limit');
        const ranges = await context.withClient((client) =>
          client.ranges({ ...start, limit, signal: context.io.signal }),
        );
        if (context.isJson) for (const range of ranges) await context.json(rangeJson(range));
        else {
          const rows = ranges.map((range) => rangeCells(context, range));
          await context.print(renderTable(RANGE_COLUMNS, rows, 'range'));
        }
        return ExitCode.ok;
      }),
    );
}

function rangeJson(range: RangeInfo): unknown {
  const state = RANGE_STATES[range.state];
  return { ...range, start: jsonBytes(range.start), end: jsonBytes(range.end), state };
}

function rangeCells(context: CommandContext, range: RangeInfo): string[] {
  const key = (bytes: Buffer, whenEmpty: string): string =>
    bytes.length === 0 ? whenEmpty : shorten(context.show(bytes), KEY_CELL_CHARACTERS);
  const replicas = range.replicas.map(({ storeId, role }) => {
    const mark = storeId === range.leaderStoreId ? '*' : '';
    return role === 'voter' ? `${storeId}${mark}` : `${storeId}${mark} (${role})`;
  });
  return [
    range.rangeId === 0 ? RANGE_STATES[range.state] : String(range.rangeId),
    key(range.start, '(first)'),
    key(range.end, '(last)'),
    leaderCell(range),
    replicas.join(' '),
    showSize(range.bytes),
    showRate(range.readsPerSecond),
    showRate(range.writesPerSecond),
    `${range.version}.${range.confVersion}`,
  ];
}

function leaderCell({ leaderStoreId, state }: RangeInfo): string {
  if (leaderStoreId !== 0) return String(leaderStoreId);
  return state === RangeState.NOT_KNOWN_YET ? 'not known yet' : 'none';
}

function registerSplit(program: Command, run: RunAction): void {
  program
    .command('split <keys...>')
    .description('cut ranges so that each of these keys begins one')
    .addHelpText(
      'after',
      `
Examples:
  cairn split city/g city/n city/t    before a large import into city/

Keys that already begin a range are left alone.`,
    )
    .action(
      run(async (context, args) => {
        const keys = args.map((key) => context.bytes(key, 'key'));
        const created = await context.withClient((client) =>
          client.splitRanges(keys, { timeoutMs: context.timeoutMs ?? 60_000, signal: context.io.signal }),
        );
        if (context.isJson) await context.json({ created });
        else await context.line(`${created} ${plural(created, 'range', 'ranges')} made`);
        return ExitCode.ok;
      }),
    );
}

function registerSettings(program: Command, run: RunAction): void {
  program
    .command('settings [assignments...]')
    .description('list the settings of the cluster, or change some')
    .option(
      '--reset <name>',
      'put the default back; may be given several times',
      (name: string, names: readonly string[] = []) => [...names, name],
    )
    .addHelpText(
      'after',
      `
Examples:
  cairn settings
  cairn settings value.max_bytes=2MiB
  cairn settings range.split_bytes=64MiB range.target_bytes=32MiB    both, or none
  cairn settings --reset value.max_bytes`,
    )
    .action(
      run<{ reset?: readonly string[] }>(async (context, args, { reset = [] }) => {
        // What the cluster takes for "the default" is the empty value.
        const changes = [...args.map(assignmentOf), ...reset.map((name) => ({ name, value: '' }))];
        const settings = await context.withClient(async (client) => {
          const { signal } = context.io;
          await client.putSettings(changes, { signal });
          const hold = changes.find(({ name }) => name === HOLD);
          if (hold !== undefined) await noteVainHold(context, client, Number(hold.value));
          const all = await client.settings({ signal });
          return changes.length === 0
            ? all
            : all.filter(({ name }) => changes.some((change) => change.name === name));
        });
        if (context.isJson) for (const setting of settings) await context.json(setting);
        else {
          const rows = settings.map((setting) => [
            setting.name,
            setting.value,
            setting.isDefault ? 'default' : 'set',
            wrap(setting.description, DESCRIPTION_COLUMNS),
          ]);
          const columns = [
            { title: 'name' },
            { title: 'value' },
            { title: 'origin' },
            { title: 'what it does' },
          ];
          await context.print(renderTable(columns, rows, 'setting'));
        }
        return ExitCode.ok;
      }),
    );
}

/** Whoever holds a version that has passed may believe that nodes can still go back. */
async function noteVainHold(context: CommandContext, client: CairnClient, hold: number): Promise<void> {
  const { clusterVersion } = await client.status({ signal: context.io.signal });
  if (hold > 0 && hold < clusterVersion)
    await context.note(`the cluster version is ${clusterVersion} and never falls: it is held there`);
}

/** Of what a setting does; the table is about twice as wide. */
const DESCRIPTION_COLUMNS = 60;

function assignmentOf(text: string): { name: string; value: string } {
  const [name = '', ...rest] = text.split('=');
  const value = rest.join('=');
  if (name === '') throw new UsageError(`"${text}" is not a setting; write name=value`);
  // It may be an empty variable of a script.
  if (value === '')
    throw new UsageError(`${name} has no value; write ${name}=VALUE, or --reset ${name} for its default`);
  return { name, value };
}
