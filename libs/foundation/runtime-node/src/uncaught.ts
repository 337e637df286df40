/** Told what nobody caught; the process ends right behind it. */
export type OnUncaught = (tell: (error: unknown) => void) => void;

/**
 * Ends this process with status 1 when an error was not caught anywhere, after `tell`: nothing may go on in a
 * state that nobody thought of. Without it Node writes the stack as plain text between the lines of the log.
 */
export const endOnUncaught: OnUncaught = (tell) => {
  const end = (error: unknown): void => {
    try {
      tell(error);
    } finally {
      process.exit(1);
    }
  };
  process.on('uncaughtException', end);
  process.on('unhandledRejection', end);
};

/** Told what Node warns of. */
export type OnWarning = (tell: (warning: Error) => void) => void;

/** Of one kind; the first say it all, and input may be what causes them. */
const WARNINGS_OF_KIND_MAX = 10;
/** Names of warnings are Node's and of libraries: a few. */
const KINDS_MAX = 100;

/** Whoever emits warnings: this process. */
interface WarningSource {
  removeAllListeners(event: 'warning'): unknown;
  on(event: 'warning', listener: (warning: Error) => void): unknown;
}

/**
 * Passes on what Node warns of (deprecations, leaks of listeners, timers that are too long), instead of its
 * own listener, which writes text between the lines of the log.
 */
export function takeWarnings(tell: (warning: Error) => void, source: WarningSource = process): void {
  const counts = new Map<string, number>();
  source.removeAllListeners('warning');
  source.on('warning', (warning) => {
    const count = (counts.get(warning.name) ?? 0) + 1;
    if (count > WARNINGS_OF_KIND_MAX || (count === 1 && counts.size >= KINDS_MAX)) return;
    counts.set(warning.name, count);
    tell(warning);
  });
}
