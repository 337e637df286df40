import { openSync, writeSync } from 'node:fs';

import { CairnError, messageOf } from '@cairn/base';
import type { LogFields, Logger } from '@cairn/ports';
import { pino, type DestinationStream, type Logger as Pino } from 'pino';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Fields of every line: `node`, `service`. */
  readonly fields: LogFields;
  /** Appended to; empty = standard output. Its directory must exist. */
  readonly file: string;
  /** Told the level of every line, for counting; before the level filter drops any. */
  readonly onLine?: (level: LogLevel) => void;
  /** Told of each line that could not be written. */
  readonly onLost?: () => void;
}

export interface ProcessLogger {
  readonly logger: Logger;
  /**
   * Writes one line of level `fatal` at once, whatever the level, with the stack of the error in it: the last
   * line of a process. Never throws.
   */
  readonly fatal: (event: string, error: unknown) => void;
  /** Writes out what is buffered, synchronously: for the last line before a process leaves. Never throws. */
  readonly flush: () => void;
}

/**
 * Lines that wait for a reader or a disk that takes nothing. What is more is dropped and counted: a process
 * must not end, or grow, because nobody reads what it says.
 */
const WAITING_BYTES_MAX = 4 * 1024 * 1024;
/** A process that ends waits a second at most, in steps of a tenth, for whoever reads its output. */
const FLUSH_RETRIES_MAX = 10;

class PinoLogger implements Logger {
  readonly #pino: Pino;
  readonly #onLine: ((level: LogLevel) => void) | undefined;

  constructor(logger: Pino, onLine: ((level: LogLevel) => void) | undefined) {
    this.#pino = logger;
    this.#onLine = onLine;
  }

  debug(event: string, fields?: LogFields): void {
    this.#onLine?.('debug');
    this.#pino.debug(fields, event);
  }

  info(event: string, fields?: LogFields): void {
    this.#onLine?.('info');
    this.#pino.info(fields, event);
  }

  warn(event: string, fields?: LogFields): void {
    this.#onLine?.('warn');
    this.#pino.warn(fields, event);
  }

  error(event: string, fields?: LogFields): void {
    this.#onLine?.('error');
    this.#pino.error(fields, event);
  }

  with(fields: LogFields): Logger {
    return new PinoLogger(this.#pino.child(fields), this.#onLine);
  }
}

/** JSON lines with `time`, `level`, `event` and fields, written to any stream: for tests and embedding. */
export function createLoggerTo(stream: DestinationStream, options: Omit<LoggerOptions, 'file'>): Logger {
  return new PinoLogger(pinoTo(stream, options), options.onLine);
}

function pinoTo(stream: DestinationStream, options: Omit<LoggerOptions, 'file'>): Pino {
  return pino(
    {
      level: options.level,
      base: options.fields,
      messageKey: 'event',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  );
}

/**
 * The logger of a process. Lines go to a file at once, to the standard output in the background; in order.
 *
 * @throws CairnError INVALID_ARGUMENT when the file cannot be opened.
 */
export function createLogger(options: LoggerOptions): ProcessLogger {
  const onLost = options.onLost ?? ((): void => undefined);
  const destination = options.file === '' ? standardOutput(onLost) : appendedFile(options.file, onLost);
  const pinoLogger = pinoTo(destination, options);
  return {
    logger: new PinoLogger(pinoLogger, options.onLine),
    fatal: (event, error) => {
      pinoLogger.fatal(errorFields(error), event);
      destination.flushSync();
    },
    flush: () => destination.flushSync(),
  };
}

interface Destination {
  write(line: string): void;
  flushSync(): void;
}

/** Every line is in the file before the next statement runs. A line that cannot be written is lost. */
function appendedFile(path: string, onLost: () => void): Destination {
  let fd: number;
  try {
    fd = openSync(path, 'a');
  } catch (error) {
    throw new CairnError('INVALID_ARGUMENT', `cannot write the log file ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  return {
    write: (line) => {
      const bytes = Buffer.from(line);
      try {
        for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
      } catch {
        onLost();
      }
    },
    flushSync: () => undefined,
  };
}

function standardOutput(onLost: () => void): Destination {
  let retriesLeft = Infinity;
  const stream = pino.destination({
    dest: 1,
    sync: false,
    maxLength: WAITING_BYTES_MAX,
    retryEAGAIN: () => (retriesLeft -= 1) >= 0,
  });
  // Once writing fails it may fail for every line: the metric tells, and the process goes on.
  stream.on('error', onLost);
  stream.on('drop', onLost);
  return {
    write: (line) => void stream.write(line),
    flushSync: () => {
      retriesLeft = FLUSH_RETRIES_MAX;
      try {
        stream.flushSync();
        retriesLeft = Infinity;
      } catch {
        onLost();
      }
    },
  };
}

function errorFields(error: unknown): LogFields {
  if (!(error instanceof Error)) return { error: messageOf(error) };
  return { error: error.message, kind: error.name, stack: error.stack };
}
