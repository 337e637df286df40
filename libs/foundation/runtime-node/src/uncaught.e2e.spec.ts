import { spawnSync } from 'node:child_process';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from '@jest/globals';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../../..');

/** As the doors do it: whatever is thrown becomes an answer, and the process goes on. */
const PROGRAM = `
import { InvariantError, messageOf, rethrowInvariant } from '@cairn/base';
import { endOnUncaught } from '@cairn/runtime-node';

endOnUncaught((error) => console.log('fatal: ' + messageOf(error)));
const answer = async (work) => {
  try {
    await work();
  } catch (error) {
    rethrowInvariant(error);
    console.log('answered: ' + messageOf(error));
  }
};
await answer(() => Promise.reject(new Error('an error')));
const swallowed = answer(() => Promise.reject(new InvariantError('a contradiction'))).catch(() => undefined);
await swallowed;
setTimeout(() => console.log('went on'), 10);
`;

describe('an assertion that fails', () => {
  it('ends the process with its fatal line, though somebody catches it', () => {
    const ended = spawnSync(process.execPath, ['--input-type=module', '-e', PROGRAM], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    expect(ended.stdout).toBe('answered: an error\nfatal: a contradiction\n');
    expect([ended.status, ended.stderr]).toEqual([1, '']);
  });
});
