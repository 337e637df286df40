import { connect, type CairnClient } from '@cairn/client';
import type { Command } from 'commander';
import { resolveEndpoints } from './endpoint.js';
import { UsageError, type ExitCode } from './exit-codes.js';
import { write, type CliIo } from './io.js';
import { parseBytes, showBytes, type ByteEncoding } from './render/bytes.js';
import { parseDurationMs } from './render/units.js';

/** Options of every command. */
export interface GlobalOptions {
  readonly endpoint?: string;
  readonly timeout?: string;
  readonly json?: boolean;
  readonly hex?: boolean;
  readonly base64?: boolean;
}

/** Longest wait for the first router; a cluster that is not there should be told quickly. */
const CONNECT_TIMEOUT_MS_MAX = 5_000;

/** What a command has to work with. */
export class CommandContext {
  readonly io: CliIo;
  readonly isJson: boolean;
  readonly encoding: ByteEncoding;
  readonly timeoutMs: number | undefined;
  readonly #endpointFlag: string | undefined;
  readonly #sharing: EndpointSharing;

  constructor(io: CliIo, options: GlobalOptions, sharing: EndpointSharing) {
    if (options.hex === true && options.base64 === true)
      throw new UsageError('choose one of --hex and --base64');
    this.io = io;
    this.isJson = options.json === true;
    this.encoding = options.hex === true ? 'hex' : options.base64 === true ? 'base64' : 'text';
    this.timeoutMs = options.timeout === undefined ? undefined : durationOf(options.timeout, '--timeout');
    this.#endpointFlag = options.endpoint;
    this.#sharing = sharing;
  }

  /**
   * Runs `work` with a connected client and closes it. An interruption ends all its calls at once, unless
   * `work` says that it winds up by itself.
   */
  async withClient<Result>(
    work: (client: CairnClient) => Promise<Result>,
    defaults: { readonly timeoutMs?: number; readonly windsUp?: boolean } = {},
  ): Promise<Result> {
    const endpoints = await resolveEndpoints(this.#endpointFlag, this.io);
    this.#sharing.endpoints = endpoints;
    const timeoutMs = this.timeoutMs ?? defaults.timeoutMs ?? 10_000;
    const client = connect({ endpoints, timeoutMs });
    const interrupt = (): void => client.close();
    if (defaults.windsUp !== true) this.io.signal.addEventListener('abort', interrupt, { once: true });
    try {
      await client.ready({ timeoutMs: Math.min(timeoutMs, CONNECT_TIMEOUT_MS_MAX), signal: this.io.signal });
      return await work(client);
    } finally {
      this.io.signal.removeEventListener('abort', interrupt);
      client.close();
    }
  }

  bytes(text: string, name: string): Buffer {
    return parseBytes(text, this.encoding, name);
  }

  show(bytes: Uint8Array): string {
    return showBytes(bytes, this.encoding);
  }

  async print(text: string | Uint8Array): Promise<void> {
    await write(this.io.stdout, text);
  }

  async line(text: string): Promise<void> {
    await write(this.io.stdout, `${text}\n`);
  }

  async json(value: unknown): Promise<void> {
    await this.line(JSON.stringify(value));
  }

  /** Beside the output. */
  async note(text: string): Promise<void> {
    await write(this.io.stderr, this.isJson ? `${JSON.stringify({ note: text })}\n` : `cairn: ${text}\n`);
  }
}

/** Lets the error report name the endpoints that were tried. */
export interface EndpointSharing {
  endpoints: readonly string[];
}

export function durationOf(text: string, flag: string): number {
  const ms = parseDurationMs(text);
  if (ms !== undefined && ms > 0) return ms;
  if (ms !== undefined || parseDurationMs(text.replace(/^\s*-/, '')) !== undefined)
    throw new UsageError(`${flag} must be above 0, not "${text}"`);
  const advice = 'write for example 500ms, 10s, 2m, 1h or 7d; a number alone is seconds';
  throw new UsageError(`${flag} "${text}" is not a duration; ${advice}`);
}

export function wholeNumberOf(text: string, flag: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new UsageError(`${flag} "${text}" is not a whole number`);
  }
  return value;
}

/** A whole number from `least` to `most`. */
export function countOf(text: string, flag: string, least: number, most: number): number {
  const value = wholeNumberOf(text, flag);
  if (value < least || value > most) throw new UsageError(`${flag} takes ${least} to ${most}, not ${text}`);
  return value;
}

/** Registers what a command does; the action's exit code becomes the process's. */
export type Register = (program: Command, run: RunAction) => void;

/** Wraps an action: gives it the context and keeps its exit code. */
export type RunAction = <Options extends object>(
  action: (context: CommandContext, args: readonly string[], options: Options) => Promise<ExitCode>,
) => (...commanderArguments: unknown[]) => Promise<void>;
