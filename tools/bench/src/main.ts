import { runSession } from './session.js';

const exitCode = await runSession({
  argv: process.argv.slice(2),
  env: process.env,
  workingDirectory: process.cwd(),
  out: (text) => process.stdout.write(text),
  say: (text) => process.stderr.write(`${text}\n`),
  onStopRequest: (listener) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, listener);
  },
});
process.exitCode = exitCode;
