import { CairnError } from '@cairn/base';
import type { Children } from './children.js';

/** How a program runs to its end. */
export interface ToEndOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** It is ended, and has failed, when it takes longer. */
  readonly limitMs: number;
}

/**
 * Runs a script under the Node that runs this and resolves with what it wrote to standard output; the rest
 * goes to ours.
 *
 * @throws CairnError `UNAVAILABLE` when it does not end well and in time.
 */
export async function runToEnd(
  children: Children,
  argv: readonly string[],
  { env, limitMs }: ToEndOptions,
): Promise<string> {
  const child = children.start(process.execPath, argv, {
    stdio: ['ignore', 'pipe', 'inherit'],
    ...(env === undefined ? {} : { env }),
  });
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const ended = Promise.withResolvers<string | undefined>();
  child.once('error', (error) => ended.resolve(error.message));
  child.once('close', (code, signal) =>
    ended.resolve(code === 0 ? undefined : `it ended with ${signal ?? `exit code ${code}`}`),
  );
  const late = setTimeout(() => {
    ended.resolve(`it was not done after ${Math.round(limitMs / 1_000)} s`);
    void children.stop([child]);
  }, limitMs);
  const problem = await ended.promise.finally(() => clearTimeout(late));
  if (problem === undefined) return text;
  throw new CairnError('UNAVAILABLE', `${argv.slice(0, 2).join(' ')} failed: ${problem}`);
}
