import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { CairnError, type ErrorCode } from '@cairn/base';
import type {
  CairnClient,
  ConditionInput,
  Entry,
  ExecuteOperationInput,
  IsolationLevel,
} from '@cairn/client';
import type { Command } from 'commander';
import type { CommandContext, RunAction } from '../context.js';
import { ExitCode, UsageError } from '../exit-codes.js';
import { withFile } from '../files.js';
import { momentOf, snapshotOf } from '../moment.js';
import { jsonBytes, shorten } from '../render/bytes.js';
import { jsonExpiry } from '../render/expiry.js';
import { renderTable } from '../render/table.js';
import { showSize } from '../render/units.js';
import { parseScript, type Script, type ScriptCondition, type ScriptOperation } from '../txn/script.js';

/** No transaction is larger; what is longer is not read to its end. */
const SCRIPT_BYTES_MAX = 16 * 1024 * 1024;
/** Rows of one scan of the script. */
const SCAN_ROWS_MAX = 10_000;
/** Longest key or value in the table. */
const CELL_CHARACTERS = 60;
const LEVELS: readonly IsolationLevel[] = ['serializable', 'snapshot', 'read-committed'];

interface TxnFlags {
  readonly isolation?: string;
  readonly at?: string;
}

/** What an operation of the script answered. */
type Answer = { readonly operation: ScriptOperation } & (
  | { readonly entry: Entry | undefined; readonly isLeftOut?: boolean }
  | { readonly rows: readonly (Entry & { readonly key: Buffer })[]; readonly hasMore: boolean }
  | { readonly sum: bigint }
  | { readonly existed?: boolean }
);

interface Outcome {
  readonly answers: readonly Answer[];
  /** Whether the conditions held; undefined where there are none. */
  readonly succeeded: boolean | undefined;
  /** Where it committed, or what it has read. */
  readonly timestamp: number;
}

export function registerTxn(program: Command, run: RunAction): void {
  program
    .command('txn [file]')
    .description('run a script of gets, puts and other operations as one transaction')
    .option('--isolation <level>', `${LEVELS.join(', ')} (default ${LEVELS[0] ?? ''})`)
    .option('--at <moment>', 'read only, as of then: -10s, 2030-01-31T12:00:00Z, or a timestamp')
    .addHelpText(
      'after',
      `
The script, from a file or standard input, has one operation a line:
  get KEY            put KEY VALUE      delete KEY
  increment KEY N    scan PREFIX        # and comments
  get-for-update KEY                    keeps it for the transaction; behind KEY: share or key-share,
                                        and nowait or skip-locked
Words with spaces stand in quotes: 'as it is', or "with \\n \\t \\" \\\\ \\x41".

With conditions it is one step at the cluster: if all hold, what is below then: is carried out, else what is
below else:
  if KEY exists      if KEY absent      if KEY = VALUE     if KEY version TOKEN

Examples:
  printf 'increment a -5\\nincrement b 5\\n' | cairn txn
  printf 'if lock absent\\nthen:\\nput lock me\\nelse:\\nget lock\\n' | cairn txn
  printf 'get a\\nget b\\n' | cairn txn --at -10s

Nothing is sent when a line is wrong. Exits with 1 when a condition does not hold.`,
    )
    .action(
      run<TxnFlags>(async (context, [file], options) => {
        const text = await scriptText(context, file);
        const script = parseScript(text, (word, name) => context.bytes(word, name));
        const outcome = await runScript(context, script, options);
        if (context.isJson) await showJson(context, outcome);
        else await showTable(context, outcome);
        return outcome.succeeded === false ? ExitCode.notMet : ExitCode.ok;
      }),
    );
}

async function scriptText(context: CommandContext, file: string | undefined): Promise<string> {
  if (file === undefined || file === '-') return readScript(context.io.stdin, 'standard input');
  const path = resolve(context.io.cwd, file);
  return withFile(path, 'read', () => readScript(createReadStream(path), path));
}

/** Throws UsageError for what is too long, or no text. */
async function readScript(stream: Readable, name: string): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    const part = Buffer.from(chunk as Uint8Array);
    bytes += part.length;
    if (bytes > SCRIPT_BYTES_MAX)
      throw new UsageError(`${name} has more than ${showSize(SCRIPT_BYTES_MAX)}: no transaction is larger`);
    chunks.push(part);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new UsageError(`${name} is no UTF-8 text: give bytes with --hex or --base64`);
  }
}

function runScript(context: CommandContext, script: Script, options: TxnFlags): Promise<Outcome> {
  const isolation = isolationOf(options.isolation);
  if (options.at !== undefined) {
    const at = momentOf(options.at);
    if (options.isolation !== undefined) throw new UsageError('--at reads one moment: leave out --isolation');
    const writing = [...script.conditions, ...script.then, ...script.otherwise].find(
      (each) => !('op' in each) || (each.op !== 'get' && each.op !== 'scan'),
    );
    if (writing !== undefined)
      throw new UsageError(`line ${writing.line}: with --at there are only get and scan`);
    return context.withClient((client) => readAt(client, script.then, at));
  }
  if (script.conditions.length > 0) {
    if (options.isolation !== undefined)
      throw new UsageError('a script with conditions is one step: leave out --isolation');
    return context.withClient((client) => executed(client, script));
  }
  return context.withClient((client) => committed(client, script.then, isolation));
}

function isolationOf(text: string | undefined): IsolationLevel {
  const level = LEVELS.find((each) => each === (text ?? LEVELS[0]));
  if (level === undefined)
    throw new UsageError(`--isolation takes ${LEVELS.join(', ')}, not "${text ?? ''}"`);
  return level;
}

type Transaction = Parameters<Parameters<CairnClient['transaction']>[0]>[0];
/** What a transaction and a snapshot have in common. */
type Reads = Transaction | Awaited<ReturnType<CairnClient['snapshot']>>;

async function answerRead(reads: Reads, operation: ScriptOperation): Promise<Answer> {
  if (operation.op === 'get') return { operation, entry: await reads.get(operation.key) };
  const rows: (Entry & { readonly key: Buffer })[] = [];
  for await (const row of reads.scan({ prefix: operation.key, limit: SCAN_ROWS_MAX + 1 })) rows.push(row);
  return { operation, rows: rows.slice(0, SCAN_ROWS_MAX), hasMore: rows.length > SCAN_ROWS_MAX };
}

async function readAt(
  client: CairnClient,
  operations: readonly ScriptOperation[],
  at: number | Date,
): Promise<Outcome> {
  const snapshot = await snapshotOf(client, at);
  const answers: Answer[] = [];
  for (const operation of operations)
    answers.push(await atLine(operation, () => answerRead(snapshot, operation)));
  return { answers, succeeded: undefined, timestamp: snapshot.timestamp };
}

async function committed(
  client: CairnClient,
  operations: readonly ScriptOperation[],
  isolation: IsolationLevel,
): Promise<Outcome> {
  let answers: Answer[] = [];
  const transaction = await client.transaction(
    async (tx) => {
      answers = [];
      for (const operation of operations)
        answers.push(await atLine(operation, () => carriedOut(tx, operation)));
      return tx;
    },
    { isolation },
  );
  return { answers, succeeded: undefined, timestamp: transaction.commitTimestamp ?? 0 };
}

async function carriedOut(tx: Transaction, operation: ScriptOperation): Promise<Answer> {
  switch (operation.op) {
    case 'get':
    case 'scan':
      return answerRead(tx, operation);
    case 'get-for-update': {
      const { entry, locked } = await tx.getForUpdate(operation.key, operation.lock);
      return { operation, entry, isLeftOut: !locked };
    }
    case 'put':
      tx.put(operation.key, operation.value);
      return { operation };
    case 'delete':
      tx.delete(operation.key);
      return { operation };
    case 'increment':
      return { operation, sum: await tx.increment(operation.key, operation.delta) };
  }
}

/** Mistakes that the line itself makes; with others it has nothing to do. */
const OF_ONE_LINE: readonly ErrorCode[] = [
  ...([
    'INVALID_ARGUMENT',
    'FAILED_PRECONDITION',
    'WRONG_KIND',
    'TRANSACTION_TOO_LARGE',
    'LOCK_NOT_AVAILABLE',
  ] as const),
];

async function atLine({ line }: { readonly line: number }, work: () => Promise<Answer>): Promise<Answer> {
  try {
    return await work();
  } catch (error) {
    throw withLine(error, line);
  }
}

function withLine(error: unknown, line: number): unknown {
  if (!CairnError.is(error) || !OF_ONE_LINE.includes(error.code)) return error;
  const { code, details, message } = error;
  return new CairnError(code, `line ${line}: ${message}`, { details, cause: error });
}

/** The line of what the client says of one condition or operation. */
function lineOfExecuted({ conditions, otherwise, then }: Script, error: unknown): number | undefined {
  if (!CairnError.is(error)) return undefined;
  const { index, list } = error.details;
  const lists = new Map<unknown, readonly { readonly line: number }[]>([
    ...([['if', conditions] as const, ['then', then] as const, ['else', otherwise] as const] as const),
  ]);
  return typeof index === 'number' ? lists.get(list)?.[index]?.line : undefined;
}

async function executed(client: CairnClient, script: Script): Promise<Outcome> {
  const executing = client.execute({
    if: script.conditions.map((each) => conditionOf(each)),
    then: script.then.map((each) => operationOf(each)),
    else: script.otherwise.map((each) => operationOf(each)),
  });
  const { succeeded, timestamp, results } = await executing.catch((error: unknown) => {
    const line = lineOfExecuted(script, error);
    throw line === undefined ? error : withLine(error, line);
  });
  const operations = succeeded ? script.then : script.otherwise;
  const answers = operations.map((operation, index): Answer => {
    const result = results[index];
    if (operation.op === 'get') return { operation, entry: result as Entry | undefined };
    if (operation.op === 'increment') return { operation, sum: result as bigint };
    if (operation.op === 'delete') return { operation, existed: (result as { existed: boolean }).existed };
    return { operation };
  });
  return { answers, succeeded, timestamp };
}

function conditionOf(condition: ScriptCondition): ConditionInput {
  const { key } = condition;
  switch (condition.kind) {
    case 'exists':
      return { key, exists: true };
    case 'absent':
      return { key, absent: true };
    case 'value':
      return { key, value: condition.operand };
    case 'version':
      return { key, version: condition.operand };
  }
}

function operationOf(operation: ScriptOperation): ExecuteOperationInput {
  const { key } = operation;
  switch (operation.op) {
    case 'get':
      return { get: { key } };
    case 'put':
      return { put: { key, value: operation.value } };
    case 'delete':
      return { delete: { key } };
    case 'increment':
      return { increment: { key, delta: operation.delta } };
    case 'scan':
    case 'get-for-update':
      throw new UsageError(`line ${operation.line}: ${operation.op} cannot be in a script with conditions`);
  }
}

async function showTable(context: CommandContext, { answers, succeeded, timestamp }: Outcome): Promise<void> {
  const columns = [
    { title: 'line', align: 'right' as const },
    { title: 'operation' },
    { title: 'key' },
    { title: 'result' },
  ];
  const cell = (bytes: Buffer): string => shorten(context.show(bytes), CELL_CHARACTERS);
  const shown = (entry: Entry): string => (entry.kind === 'bytes' ? cell(entry.value) : `(${entry.kind})`);
  const rows = answers.flatMap((answer) => {
    const { line, op, key } = answer.operation;
    const row = (result: string, of = key): string[] => [String(line), op, cell(of), result];
    if ('rows' in answer) {
      const found = answer.rows.map((each) => row(shown(each), each.key));
      if (answer.hasMore) return [...found, row(`(more than ${SCAN_ROWS_MAX} rows)`)];
      return found.length === 0 ? [row('(none)')] : found;
    }
    if ('sum' in answer) return [row(String(answer.sum))];
    if ('entry' in answer && answer.isLeftOut === true) return [row('(locked by another)')];
    if ('entry' in answer) return [row(answer.entry === undefined ? '(none)' : shown(answer.entry))];
    return [row(answer.existed === false ? '(none)' : 'OK')];
  });
  if (succeeded !== undefined)
    await context.line(succeeded ? 'all conditions hold' : 'a condition does not hold');
  if (rows.length > 0) await context.print(renderTable(columns, rows, 'row'));
  await context.line(`at timestamp ${timestamp}`);
}

async function showJson(context: CommandContext, { answers, succeeded, timestamp }: Outcome): Promise<void> {
  let text = '';
  for (const answer of answers) {
    const { line, op, key } = answer.operation;
    const what = { line, operation: op, key: jsonBytes(key) };
    const said: object[] =
      'rows' in answer
        ? [...answer.rows.map((row) => ({ ...what, key: jsonBytes(row.key), ...jsonEntry(row) }))]
        : 'sum' in answer
          ? [{ ...what, value: String(answer.sum) }]
          : 'entry' in answer
            ? [{ ...what, ...jsonFound(answer) }]
            : [answer.existed === undefined ? what : { ...what, existed: answer.existed }];
    for (const each of said) text += `${JSON.stringify(each)}\n`;
    if ('rows' in answer && answer.hasMore) text += `${JSON.stringify({ ...what, more: true })}\n`;
  }
  await context.print(text);
  await context.json({ ...(succeeded === undefined ? {} : { succeeded }), timestamp });
}

function jsonFound({
  entry,
  isLeftOut,
}: {
  readonly entry: Entry | undefined;
  readonly isLeftOut?: boolean;
}): object {
  if (isLeftOut === true) return { locked: false };
  return { found: entry !== undefined, ...(entry && jsonEntry(entry)) };
}

function jsonEntry(entry: Entry): object {
  const shown = entry.kind === 'bytes' ? { value: jsonBytes(entry.value) } : { kind: entry.kind };
  const version = entry.version.length === 0 ? {} : { version: entry.version.toString('hex') };
  return { ...shown, ...version, ...jsonExpiry(entry) };
}
