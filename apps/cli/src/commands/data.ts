import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import type { Readable } from 'node:stream';
import type {
  BytesInput,
  CairnClient,
  CompareAndSetResult,
  DeleteReceipt,
  WriteOptions,
} from '@cairn/client';
import type { Command } from 'commander';
import { durationOf, type CommandContext, type RunAction } from '../context.js';
import { ExitCode, NotFoundError, UsageError } from '../exit-codes.js';
import { withFile } from '../files.js';
import { consistencyOf, readMomentOf } from '../moment.js';
import { jsonBytes, utf8OrUndefined } from '../render/bytes.js';
import { jsonExpiry } from '../render/expiry.js';
import { showCount, showSize } from '../render/units.js';

/** No cluster takes longer values, whatever its settings; what is longer is not read to its end. */
const VALUE_BYTES_MAX = 8 * 1024 * 1024;

interface OrderingFlags {
  readonly strict?: boolean;
}

const STRICT_FLAG = [
  '--strict',
  'take a fresh timestamp: snapshots see strict writes in their order',
] as const;

function orderingOf(options: OrderingFlags): WriteOptions {
  return options.strict === true ? { ordering: 'strict' } : {};
}

/** get, put, del, cas, incr, expire, persist. */
export function registerDataCommands(program: Command, run: RunAction): void {
  registerGet(program, run);
  registerPut(program, run);
  registerDel(program, run);
  registerCas(program, run);
  registerIncr(program, run);
  registerExpire(program, run);
  registerPersist(program, run);
}

function registerGet(program: Command, run: RunAction): void {
  program
    .command('get <key>')
    .description('print the value of a key')
    .option('--raw', 'write exactly the bytes of the value, no newline')
    .option('--stale', 'read any replica: fast, possibly old')
    .option('--at <moment>', 'as of then: -10s, 2030-01-31T12:00:00Z, or a timestamp')
    .addHelpText(
      'after',
      `
Examples:
  cairn get city/rome
  cairn get city/rome --at -10s     as it was ten seconds ago
  cairn get photo --raw > photo.jpg
  cairn get --hex 00ff10
  cairn get counter --json          {"key":"counter","value":"5","version":"..."}
  cairn get session/42 --json       the same, and "expires":"2030-01-31T12:00:00.000Z"

When a key disappears by itself, --json alone tells it, here and in scan.
Exits with 1 when the key does not exist.`,
    )
    .action(
      run<{ raw?: boolean; stale?: boolean; at?: string }>(async (context, [key = ''], options) => {
        const moment = readMomentOf(options);
        const entry = await context.withClient(async (client) =>
          client.get(context.bytes(key, 'key'), await consistencyOf(client, moment)),
        );
        if (entry === undefined) throw new NotFoundError(`there is no key ${key}`);
        if (context.isJson) {
          const version = entry.version.toString('hex');
          await context.json({
            key: jsonBytes(context.bytes(key, 'key')),
            value: jsonBytes(entry.value),
            version,
            ...jsonExpiry(entry),
          });
        } else if (options.raw === true) await context.print(entry.value);
        else await context.line(valueForPeople(context, entry.value));
        return ExitCode.ok;
      }),
    );
}

/** Whole text as it is (it may have lines), anything else escaped. */
function valueForPeople(context: CommandContext, value: Buffer): string {
  const text = context.encoding === 'text' ? utf8OrUndefined(value) : undefined;
  // Control characters other than tab and line ends would act on the terminal.
  return text !== undefined && !/[^\P{Cc}\t\n\r]/u.test(text) ? text : context.show(value);
}

function registerPut(program: Command, run: RunAction): void {
  program
    .command('put <key> [value]')
    .description('write a key')
    .option('-f, --file <path>', 'take the value from a file; - is standard input')
    .option('--ttl <duration>', 'remove the key after this long, e.g. 30s, 1h, 7d; a number alone is seconds')
    .option(...STRICT_FLAG)
    .addHelpText(
      'after',
      `
Examples:
  cairn put city/rome "Rome"
  cairn put photo --file photo.jpg
  echo -n hello | cairn put greeting --file -
  cairn put session/42 open --ttl 30m

Without --ttl the key stays, also where it had a time to live.`,
    )
    .action(
      run<OrderingFlags & { file?: string; ttl?: string }>(async (context, [key = '', value], options) => {
        const bytes = await valueArgument(context, value, options.file);
        const ttl = options.ttl === undefined ? {} : { ttlMs: durationOf(options.ttl, '--ttl') };
        const receipt = await context.withClient((client) =>
          client.put(context.bytes(key, 'key'), bytes, { ...ttl, ...orderingOf(options) }),
        );
        if (context.isJson) {
          await context.json({ version: receipt.version.toString('hex'), timestamp: receipt.timestamp });
        } else await context.line('OK');
        return ExitCode.ok;
      }),
    );
}

async function valueArgument(
  context: CommandContext,
  value: string | undefined,
  file: string | undefined,
): Promise<BytesInput> {
  if (value !== undefined && file !== undefined) throw new UsageError('give a value or --file, not both');
  if (value !== undefined) return context.bytes(value, 'value');
  if (file === undefined)
    throw new UsageError('which value? Write: cairn put KEY VALUE  (or --file PATH, --file -)');
  if (file !== '-') {
    const path = resolve(context.io.cwd, file);
    return withFile(path, 'read', () => readValue(createReadStream(path), path));
  }
  return readValue(context.io.stdin, 'standard input');
}

/** @throws UsageError for more than a value can have. */
async function readValue(stream: Readable, name: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    const part = Buffer.from(chunk as Uint8Array);
    bytes += part.length;
    if (bytes > VALUE_BYTES_MAX)
      throw new UsageError(`${name} has more than ${showSize(VALUE_BYTES_MAX)}: no value may be longer`);
    chunks.push(part);
  }
  return Buffer.concat(chunks);
}

function registerDel(program: Command, run: RunAction): void {
  program
    .command('del [keys...]')
    .description('remove keys, or a whole span of them')
    .option('--prefix <prefix>', 'remove every key that begins with this')
    .option('--range', 'remove every key from the first given up to, not including, the second')
    .option('--all', 'remove every key of the cluster')
    .option(...STRICT_FLAG)
    .addHelpText(
      'after',
      `
Examples:
  cairn del city/rome city/milan
  cairn del --prefix city/
  cairn del --range city/a city/n

Exits with 1 when none of the named keys existed. Spans are removed key by key, not at one instant.`,
    )
    .action(run(deleteAction));
}

const ALL_ADVICE = 'if that is meant, write: cairn del --all';

interface DeleteFlags extends OrderingFlags {
  readonly prefix?: string;
  readonly range?: boolean;
  readonly all?: boolean;
}

async function deleteAction(
  context: CommandContext,
  args: readonly string[],
  options: DeleteFlags,
): Promise<ExitCode> {
  const span = spanArgument(context, args, options);
  if (span !== undefined) {
    if (options.strict === true)
      throw new UsageError('--strict is for named keys: spans are removed key by key, not at one instant');
    const deleted = await context.withClient((client) => client.deleteRange(span));
    if (context.isJson) await context.json({ deleted });
    else await context.line(`${showCount(deleted)} ${deleted === 1 ? 'key' : 'keys'} removed`);
    return ExitCode.ok;
  }
  if (args.length === 0) throw new UsageError('which keys? Name them, or a span with --prefix or --range');
  const keys = args.map((key) => context.bytes(key, 'key'));
  const receipts = await context.withClient((client) =>
    Promise.all(keys.map((key) => client.delete(key, orderingOf(options)))),
  );
  const existed = receipts.filter((receipt) => receipt.existed).length;
  if (context.isJson) {
    for (const [index, receipt] of receipts.entries()) {
      await context.json({ key: jsonBytes(keys[index] ?? Buffer.alloc(0)), existed: receipt.existed });
    }
  } else
    await context.line(
      `${existed} of ${keys.length} ${keys.length === 1 ? 'key' : 'keys'} existed; all are gone now`,
    );
  return existed > 0 ? ExitCode.ok : ExitCode.notMet;
}

function spanArgument(
  context: CommandContext,
  args: readonly string[],
  options: DeleteFlags,
): { prefix: Buffer } | { start: Buffer; end: Buffer } | { all: true } | undefined {
  if (options.all === true) {
    if (args.length > 0 || options.range !== undefined || options.prefix !== undefined) {
      throw new UsageError('--all goes alone: it already names every key');
    }
    return { all: true };
  }
  if (options.prefix === '') throw new UsageError(`--prefix is empty: that names every key; ${ALL_ADVICE}`);
  if (options.prefix !== undefined) {
    if (args.length > 0 || options.range !== undefined) {
      throw new UsageError('--prefix goes alone: it already names the keys');
    }
    return { prefix: context.bytes(options.prefix, '--prefix') };
  }
  if (options.range !== true) return undefined;
  const [start, end, ...more] = args;
  if (start === undefined || end === undefined || more.length > 0) {
    throw new UsageError('--range takes two keys: cairn del --range START END');
  }
  if (start === '' && end === '') {
    throw new UsageError(`--range from the first key to the last names every key; ${ALL_ADVICE}`);
  }
  return { start: context.bytes(start, 'key'), end: context.bytes(end, 'key') };
}

interface CasFlags extends OrderingFlags {
  readonly absent?: boolean;
  readonly expect?: string;
  readonly expectVersion?: string;
  readonly delete?: boolean;
  readonly ttl?: string;
}

function registerCas(program: Command, run: RunAction): void {
  program
    .command('cas <key> [value]')
    .description('write a key only if it is as expected (compare and set)')
    .option('--absent', 'the key must not exist')
    .option('--expect <value>', 'the key must hold this value')
    .option('--expect-version <hex>', 'the key must be at this version (see get --json)')
    .option('--delete', 'delete the key instead of writing it')
    .option('--ttl <duration>', 'remove the key after this long, e.g. 30s, 1h, 7d')
    .option(...STRICT_FLAG)
    .addHelpText(
      'after',
      `
Examples:
  cairn cas lock/build me --absent          take a lock
  cairn cas lock/build --expect me --delete give it back
  cairn cas balance 90 --expect 100

Without --ttl the key stays, also where it had a time to live.
Exits with 1 when the key was not as expected, and shows what is there.`,
    )
    .action(
      run<CasFlags>(async (context, [key = '', value], options) => {
        if ((value === undefined) !== (options.delete === true)) {
          throw new UsageError('give the new value, or --delete');
        }
        const result = await context.withClient((client) =>
          client.compareAndSet(context.bytes(key, 'key'), {
            ...expectationOf(context, options),
            ...(value === undefined ? {} : { value: context.bytes(value, 'value') }),
            ...(options.ttl === undefined ? {} : { ttlMs: durationOf(options.ttl, '--ttl') }),
            ...orderingOf(options),
          }),
        );
        await showCas(context, result);
        return result.succeeded ? ExitCode.ok : ExitCode.notMet;
      }),
    );
}

function expectationOf(
  context: CommandContext,
  options: CasFlags,
): { expectedAbsent: true } | { expectedValue: Buffer } | { expectedVersion: Buffer } {
  const { absent, expect, expectVersion } = options;
  if ([absent, expect, expectVersion].filter((flag) => flag !== undefined).length !== 1) {
    throw new UsageError('say what must be there, with one of --absent, --expect and --expect-version');
  }
  if (expect !== undefined) return { expectedValue: context.bytes(expect, '--expect') };
  if (expectVersion === undefined) return { expectedAbsent: true };
  if (!/^([0-9a-fA-F]{2})+$/.test(expectVersion))
    throw new UsageError('--expect-version is hexadecimal, as get --json shows it');
  return { expectedVersion: Buffer.from(expectVersion, 'hex') };
}

async function showCas(context: CommandContext, result: CompareAndSetResult): Promise<void> {
  const { succeeded, version, current } = result;
  if (context.isJson) {
    const there = current === undefined ? null : jsonBytes(current.value);
    const details = succeeded ? {} : { current: there };
    await context.json({
      succeeded,
      version: version.length > 0 ? version.toString('hex') : null,
      ...details,
    });
  } else if (succeeded) await context.line('OK');
  else if (current === undefined) await context.line('not changed: the key does not exist');
  else await context.line(`not changed: the key holds ${context.show(current.value)}`);
}

function registerExpire(program: Command, run: RunAction): void {
  program
    .command('expire <key> <duration>')
    .description('let a key that is there disappear after this long, e.g. 30s, 1h, 7d')
    .option(...STRICT_FLAG)
    .addHelpText(
      'after',
      `
Example:
  cairn expire session/42 30m

A number alone is seconds. cairn persist keeps a key for good. Exits with 1 when the key does not exist.`,
    )
    .action(
      run<OrderingFlags>(async (context, [key = '', duration = ''], options) => {
        const ttlMs = durationOf(duration, '<duration>');
        return changeExpiry(context, key, (client, bytes) =>
          client.expire(bytes, ttlMs, orderingOf(options)),
        );
      }),
    );
}

function registerPersist(program: Command, run: RunAction): void {
  program
    .command('persist <key>')
    .description('keep a key that would disappear by itself')
    .option(...STRICT_FLAG)
    .addHelpText(
      'after',
      '\nExample:\n  cairn persist session/42\n\nExits with 1 when the key does not exist.',
    )
    .action(
      run<OrderingFlags>((context, [key = ''], options) =>
        changeExpiry(context, key, (client, bytes) => client.persist(bytes, orderingOf(options))),
      ),
    );
}

async function changeExpiry(
  context: CommandContext,
  key: string,
  change: (client: CairnClient, bytes: BytesInput) => Promise<DeleteReceipt>,
): Promise<ExitCode> {
  const receipt = await context.withClient((client) => change(client, context.bytes(key, 'key')));
  if (!receipt.existed) throw new NotFoundError(`there is no key ${key}`);
  if (context.isJson)
    await context.json({ version: receipt.version.toString('hex'), timestamp: receipt.timestamp });
  else await context.line('OK');
  return ExitCode.ok;
}

function registerIncr(program: Command, run: RunAction): void {
  program
    .command('incr <key>')
    .description('add to the whole number that a key holds, and print the sum')
    .option('--by <number>', 'how much; may be negative', '1')
    .option(...STRICT_FLAG)
    .addHelpText(
      'after',
      `
Examples:
  cairn incr visits
  cairn incr stock/42 --by -3

A key that does not exist counts as 0. A time to live that the key has goes on.`,
    )
    .action(
      run<OrderingFlags & { by: string }>(async (context, [key = ''], options) => {
        if (!/^[+-]?\d+$/.test(options.by))
          throw new UsageError(`--by "${options.by}" is not a whole number`);
        const sum = await context.withClient((client) =>
          client.increment(context.bytes(key, 'key'), BigInt(options.by), orderingOf(options)),
        );
        if (context.isJson)
          await context.json({ key: jsonBytes(context.bytes(key, 'key')), value: sum.toString() });
        else await context.line(sum.toString());
        return ExitCode.ok;
      }),
    );
}
