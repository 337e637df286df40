import { describe, expect, test } from '@jest/globals';
import { runSession } from './session.js';
import { EXIT } from './stage.js';

async function run(argv: readonly string[], env = {}): Promise<{ code: number; out: string; said: string }> {
  let out = '';
  let said = '';
  const code = await runSession({
    argv,
    env,
    workingDirectory: '/does/not/exist',
    out: (text) => (out += text),
    say: (text) => (said += `${text}\n`),
    onStopRequest: () => undefined,
  });
  return { code, out, said };
}

describe('npm run bench', () => {
  test('explains itself', async () => {
    const { code, out, said } = await run(['--help']);
    expect([code, said]).toEqual([EXIT.measured, '']);
    expect(out).toContain('--repetitions');
  });

  test('refuses what it does not understand, with every mistake', async () => {
    const { code, out, said } = await run(['--works', 'fly', '--outstanding', 'many']);
    expect([code, out]).toEqual([EXIT.usage, '']);
    expect(said).toContain('"fly"');
    expect(said).toContain('"many"');
    expect(said).toContain('--help');
  });

  test('says how to get an etcd before it starts anything', async () => {
    const { code, said } = await run(['--peer', 'etcd'], { PATH: '/does/not/exist' });
    expect(code).toBe(EXIT.failed);
    expect(said).toContain('Install etcd 3.5 or later');
    expect(said).not.toContain('Starting');
  });

  test('takes no cluster from the variable of the CLI, but other variables', async () => {
    const { code, said } = await run(['--peer', 'etcd'], { CAIRN_ENDPOINT: 'not an address', PATH: '' });
    expect([code, said.includes('endpoint')]).toEqual([EXIT.failed, false]);
    expect((await run([], { CAIRN_WORKS: 'fly' })).said).toContain('"fly"');
  });
});
