import { runSession } from './session.js';

const exitCode = await runSession({
  argv: process.argv.slice(2),
  env: process.env,
  stdout: process.stdout,
  onStopRequest: (listener) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, listener);
  },
});
process.exit(exitCode);
