import { CairnError } from '@cairn/base';
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
}

export interface ProcessLogger {
  readonly logger: Logger;
  /** Resolves once the file is open; rejects when it cannot be. Lines logged before are kept. */
  readonly opened: Promise<void>;
  /**
   * Writes out what is buffered, synchronously: for the last line before a process leaves. After `opened`.
   */
  readonly flush: () => void;
}

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
  const logger = pino(
    {
      level: options.level,
      base: options.fields,
      messageKey: 'event',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  );
  return new PinoLogger(logger, options.onLine);
}

/**
 * The logger of a process. Lines go to a file at once, to the standard output in the background; in order.
 */
export function createLogger(options: LoggerOptions): ProcessLogger {
  const stream = pino.destination({
    dest: options.file === '' ? 1 : options.file,
    append: true,
    sync: false,
  });
  const logger = createLoggerTo(stream, options);
  let isOpen = options.file === '';
  const opened = isOpen
    ? Promise.resolve()
    : new Promise<void>((resolve, reject) => {
        stream.once('ready', () => {
          isOpen = true;
          // From here on line by line: a flush does not wait for a write that is on its way in the
          // background.
          Object.assign(stream, { sync: true });
          resolve();
        });
        stream.once('error', (error: Error) => {
          reject(
            new CairnError('INVALID_ARGUMENT', `cannot write the log file ${options.file}: ${error.message}`),
          );
        });
      });
  return {
    logger,
    opened,
    flush: () => {
      if (isOpen) stream.flushSync();
    },
  };
}
