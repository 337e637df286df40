import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

import { runCheck } from './command.js';

// npm runs scripts in the folder of the package and says where it was called.
const calledIn = process.env['INIT_CWD'] ?? process.cwd();

process.exitCode = runCheck(process.argv.slice(2), {
  read: (file) => readFileSync(file === '-' ? 0 : resolve(calledIn, file), 'utf8'),
  out: (text) => {
    process.stdout.write(text);
  },
  error: (text) => {
    process.stderr.write(text);
  },
});
