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
