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

/** Writes and waits while the receiver is slow. Rejects when the receiver is gone. */
export async function write(stream: Writable, chunk: string | Uint8Array): Promise<void> {
  if (stream.errored) throw stream.errored;
  if (stream.write(chunk)) return;
  await new Promise<void>((resolve, reject) => {
    const settle = (error?: Error | null): void => {
      stream.off('drain', settle);
      stream.off('error', settle);
      stream.off('close', settle);
      if (error instanceof Error) reject(error);
      else resolve();
    };
    stream.once('drain', settle);
    stream.once('error', settle);
    stream.once('close', settle);
  });
}
