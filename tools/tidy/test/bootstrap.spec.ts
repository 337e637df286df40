/**
 * Goal: whoever calls an npm script wrongly hears it, before anything is installed or run. Method: the script
 * itself, with the environment that npm gives it.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';

const SCRIPT = fileURLToPath(new URL('../../bootstrap.mjs', import.meta.url));

function run(argv: readonly string[], env: Readonly<Record<string, string>>): [number | null, string] {
  const path = { PATH: process.env['PATH'] ?? '' };
  const result = spawnSync(process.execPath, [SCRIPT, ...argv], {
    env: { ...path, ...env },
    encoding: 'utf8',
  });
  return [result.status, result.stderr];
}

describe('an npm script', () => {
  it.each([
    ['soak', { npm_config_minutes: '1' }, '--minutes for itself', 'npm run soak -- --minutes'],
    [
      'start',
      { npm_config_base_port: '1', npm_config_shards: '4' },
      '--shards and --base-port',
      'npm start -- --shards',
    ],
    ['sim', { npm_config_seeds: 'true' }, '--seeds for itself', 'npm run sim -- --seeds'],
  ])('does not run %s without the flags that npm took', (name, env, what, advice) => {
    const [code, text] = run([name], { npm_lifecycle_event: name, ...env });
    expect([code, text]).toEqual([1, expect.stringContaining(what)]);
    expect(text).toContain(advice);
  });

  it('of searches refuses a name that is none', () => {
    const [code, text] = run(['test:full', 'simm'], {});
    expect([code, text]).toEqual([1, expect.stringContaining('simm is no search; there are sim, ')]);
  });
});
