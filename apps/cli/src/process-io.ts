import { runCli } from './cli.js';

/** The command line of this process. Resolves to the exit code. */
export async function runProcess(): Promise<number> {
  const abort = new AbortController();
  process.once('SIGINT', () => {
    abort.abort(new Error('interrupted'));
    // A second Ctrl-C is for those who do not want to wait for the tidy end.
    process.once('SIGINT', () => process.exit(130));
  });
  process.once('SIGTERM', () => abort.abort(new Error('terminated')));
  // `cairn scan | head` closes our output: that is the reader's right and no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    // Any other failure reaches whoever wrote, see `write`.
  });
  // Nothing is left to tell it to.
  process.stderr.on('error', () => undefined);
  return runCli(process.argv.slice(2), {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    cwd: process.cwd(),
    stderrIsTty: process.stderr.isTTY,
    columns: process.stderr.columns || 100,
    nowMs: () => performance.now(),
    unixMs: () => Date.now(),
    signal: abort.signal,
  });
}
