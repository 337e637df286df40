import { CairnError, messageOf, VERSION } from '@cairn/base';
import { Command, CommanderError } from 'commander';
import { registerAdminCommands } from './commands/admin.js';
import { registerDataCommands } from './commands/data.js';
import { registerDebug } from './commands/debug.js';
import { registerEngineCommands } from './commands/engine.js';
import { registerExport } from './commands/export.js';
import { registerHolds } from './commands/holds.js';
import { registerImport } from './commands/import.js';
import { registerScan } from './commands/scan.js';
import { registerTxn } from './commands/txn.js';
import { registerUpgrade } from './commands/upgrade.js';
import { registerWatch } from './commands/watch.js';
import { CommandContext, type EndpointSharing, type GlobalOptions, type RunAction } from './context.js';
import { adviceFor, ExitCode, exitCodeOf, NotFoundError, UsageError } from './exit-codes.js';
import { FileError } from './files.js';
import { OutputError, write, type CliIo } from './io.js';

const HELP_WIDTH = 100;

const HELP_FOOTER = `
Where:
  The router is --endpoint, else $CAIRN_ENDPOINT, else what a local cluster wrote into
  .cairn/endpoints.json, else 127.0.0.1:7100. Several routers: separate them with commas.

Bytes:
  Keys and values are text unless --hex or --base64 is given; then both are read and shown that way.
  Tables show unprintable bytes as escapes (\\x00). --json prints one object per line, text as a
  string and anything that is no UTF-8 as {"base64":"..."}; import reads the same form.

Durations:
  500ms, 10s, 2m, 1h, 7d; a number alone is seconds.

Exit codes:
  0  done
  1  not found, condition not met, rows rejected, or (status) the cluster is not healthy
  2  the command was called wrongly
  3  the cluster refused
  4  the cluster could not be reached, or did not answer in time
  5  outcome unknown: the write may or may not have happened
  6  the output could not be written
  130  interrupted

Try:
  cairn put greeting "hello"        write a key
  cairn get greeting                read it back
  cairn scan --prefix g             list keys that begin with g
  cairn status                      how the cluster is
  cairn help import                 load a file
`;

/**
 * Runs one command line (without `node` and the script) and returns the exit code. Never throws for what a
 * person can cause; output goes to `io` only.
 */
export async function runCli(argv: readonly string[], io: CliIo): Promise<number> {
  const sharing: EndpointSharing = { endpoints: [] };
  const pending: string[] = [];
  let exitCode: number = ExitCode.ok;
  const run: RunAction =
    (action) =>
    async (...commanderArguments) => {
      const command = commanderArguments.at(-1) as Command;
      const options = command.optsWithGlobals<GlobalOptions>();
      const context = new CommandContext(io, options, sharing);
      const args = command.processedArgs.flat().filter((arg): arg is string => typeof arg === 'string');
      exitCode = await action(context, args, options as never);
    };
  const isJson = argv.includes('--json');
  const program = buildProgram(run, (text) => pending.push(text), { io, isJson });
  let misread = program.name();
  toldWhere(program, program.name(), (path) => (misread = path));
  try {
    try {
      await program.parseAsync(withoutVainHelp(argv, program), { from: 'user' });
    } finally {
      for (const text of pending) await write(io.stdout, text);
    }
  } catch (error) {
    exitCode = await reportFailure(error, io, { isJson, endpoints: sharing.endpoints, misread });
  }
  return exitCode;
}

/** Tells which command, `cairn upgrade status` for instance, could not make sense of its arguments. */
function toldWhere(command: Command, path: string, told: (path: string) => void): void {
  command.exitOverride((error) => {
    told(path);
    throw error;
  });
  for (const each of command.commands) toldWhere(each, `${path} ${each.name()}`, told);
}

/** `help` for a command that is not there would print the help of the whole and say nothing. */
function withoutVainHelp(argv: readonly string[], program: Command): string[] {
  const [first, name] = argv;
  const isVain =
    first === 'help' && name !== undefined && !program.commands.some((each) => each.name() === name);
  return isVain && name !== 'help' && !name.startsWith('-') ? argv.slice(1) : [...argv];
}

function buildProgram(
  run: RunAction,
  print: (text: string) => void,
  { io, isJson }: { readonly io: CliIo; readonly isJson: boolean },
): Command {
  const program = new Command('cairn');
  program
    .description('Talk to a Cairn cluster: data, administration, diagnosis.')
    .version(VERSION, '-V, --version', 'print the version of this tool')
    .option('-e, --endpoint <host:port>', 'router to talk to; several with commas')
    .option('-t, --timeout <duration>', 'give up after this long, e.g. 500ms, 10s, 2m (default 10s)')
    .option('--json', 'one JSON object per line instead of tables')
    .option('--hex', 'keys and values are hexadecimal, in and out')
    .option('--base64', 'keys and values are base64, in and out')
    .configureHelp({ helpWidth: HELP_WIDTH, showGlobalOptions: false })
    .configureOutput({
      writeOut: print,
      writeErr: (text) => io.stderr.write(text),
      // With --json the failure is reported once, as an object.
      outputError: (text, writeError) => {
        if (!isJson) writeError(text.replace(/^error: /, 'cairn: '));
      },
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .showSuggestionAfterError()
    .addHelpText('after', HELP_FOOTER);
  program.commandsGroup('Data:');
  registerDataCommands(program, run);
  registerScan(program, run);
  registerTxn(program, run);
  registerWatch(program, run);
  program.commandsGroup('Files:');
  registerImport(program, run);
  registerExport(program, run);
  program.commandsGroup('Cluster:');
  registerAdminCommands(program, run);
  registerHolds(program, run);
  registerEngineCommands(program, run);
  registerDebug(program, run);
  registerUpgrade(program, run);
  for (const command of program.commands) {
    command.copyInheritedSettings(program);
    command.addHelpText('after', '\nOptions of every command (--endpoint, --json, --hex, ...): cairn --help');
  }
  return program;
}

/** How a failure is told: in words, or with --json as one object on standard error. */
interface Failure {
  readonly code: string;
  readonly message: string;
  readonly advice: string;
  readonly exitCode: ExitCode;
}

async function reportFailure(
  error: unknown,
  io: CliIo,
  look: { readonly isJson: boolean; readonly endpoints: readonly string[]; readonly misread: string },
): Promise<ExitCode> {
  // Help and version arrive as errors too; their text has been printed.
  if (error instanceof CommanderError && error.exitCode === 0) return ExitCode.ok;
  const failure = failureOf(error, look);
  if (failure === undefined)
    return (error as NodeJS.ErrnoException).code === 'EPIPE' ? ExitCode.ok : raise(error);
  if (CairnError.is(error) && io.signal.aborted) return ExitCode.interrupted;
  const { code, message, advice, exitCode } = failure;
  if (look.isJson) {
    const hint = advice === '' ? {} : { advice };
    await write(io.stderr, `${JSON.stringify({ error: { code, message, ...hint, exitCode } })}\n`);
  } else if (error instanceof CommanderError) {
    if (error.code !== 'commander.help') await write(io.stderr, `${advice}\n`);
  } else await write(io.stderr, `cairn: ${message}\n${advice === '' ? '' : `${advice}\n`}`);
  return exitCode;
}

function raise(error: unknown): never {
  throw error;
}

/** undefined: no failure that a person can cause. */
function failureOf(
  error: unknown,
  { endpoints, misread }: { readonly endpoints: readonly string[]; readonly misread: string },
): Failure | undefined {
  if (error instanceof CommanderError) {
    const message = error.message.replace(/^error: /, '');
    return { code: 'USAGE', message, advice: `See: ${misread} --help`, exitCode: ExitCode.usage };
  }
  if (error instanceof UsageError) {
    return { code: 'USAGE', message: error.message, advice: '', exitCode: ExitCode.usage };
  }
  if (error instanceof NotFoundError) {
    return { code: 'NOT_FOUND', message: error.message, advice: '', exitCode: ExitCode.notMet };
  }
  if (error instanceof FileError) {
    return { code: error.code, message: error.message, advice: '', exitCode: error.exitCode };
  }
  if (CairnError.is(error)) {
    const advice = adviceFor(error, endpoints);
    return { code: error.code, message: error.message, advice, exitCode: exitCodeOf(error) };
  }
  if (error instanceof OutputError) {
    return { code: 'OUTPUT', message: error.message, advice: '', exitCode: ExitCode.output };
  }
  const { code } = error as NodeJS.ErrnoException;
  if (typeof code !== 'string' || !code.startsWith('E') || code === 'EPIPE') return undefined;
  return { code, message: messageOf(error), advice: '', exitCode: ExitCode.usage };
}
