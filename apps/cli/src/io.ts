import type { Readable, Writable } from 'node:stream';

/** Everything the command line touches besides the cluster and named files; tests pass their own. */
export interface CliIo {
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where relative paths and `.cairn` are looked for. */
  readonly cwd: string;
  /** Progress may redraw its line. */
  readonly stderrIsTty: boolean;
  readonly columns: number;
  /** Monotonic milliseconds, for rates. */
  nowMs(): number;
  /** Unix milliseconds, for ages. */
  unixMs(): number;
  /** Aborts when the person wants to stop (Ctrl-C). */
  readonly signal: AbortSignal;
}

/** What was to be shown could not be written. */
export class OutputError extends Error {
  override readonly name = 'OutputError';
}

/**
 * Writes and waits until the bytes were taken.
 *
 * @throws OutputError, or EPIPE as it is: a reader that has left is no failure.
 */
export async function write(stream: Writable, chunk: string | Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const settle = (error: unknown): void => {
      stream.off('close', onClose);
      if (error === null || error === undefined) resolve();
      // A stream that has failed says at each further write only that it was destroyed.
      else if (stream.errored instanceof Error) reject(writeFailure(stream.errored));
      else reject(error instanceof Error ? writeFailure(error) : new OutputError('the output was closed'));
    };
    const onClose = (): void => settle(new OutputError('the output was closed'));
    stream.once('close', onClose);
    stream.write(chunk, settle);
  });
}

function writeFailure(error: NodeJS.ErrnoException): Error {
  if (error.code === 'EPIPE') return error;
  return new OutputError(`the output could not be written: ${error.message}`, { cause: error });
}
