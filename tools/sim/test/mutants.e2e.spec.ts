import { expect, it } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));

function run(...argv: readonly string[]): { status: number | null; lines: Record<string, unknown>[] } {
  const { status, stdout } = spawnSync(process.execPath, [MAIN, '--mutants', '--json', ...argv], {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const lines = stdout.split('\n').filter((line) => line !== '');
  return { status, lines: lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

it('shows which checker caught which defect', () => {
  const { status, lines } = run('--only', 'vote-counted-twice,vote-for-shorter-log,append-not-compared');
  expect(lines.map(({ mutant, type }) => [mutant, type])).toEqual([
    ['vote-counted-twice', 'caught'],
    ['vote-for-shorter-log', 'caught'],
    ['append-not-compared', 'caught'],
  ]);
  // Two leaders in a term show as such, or by what the second one lacks: which is seen first is up to the
  // seed.
  const by = expect.stringMatching(/^(one-leader-per-term|leader-completeness)$/) as unknown;
  expect(lines[0]).toMatchObject({ first: { by } });
  expect(status).toBe(0);
});

it('catches a defect that only a whole cluster shows', () => {
  const { status, lines } = run('--only', 'pending-write-overlooked', '--seeds', '1..4');
  expect(lines).toMatchObject([{ type: 'caught' }]);
  expect(status).toBe(0);
});

it('fails when a defect is not caught', () => {
  const { status, lines } = run('--only', 'vote-counted-twice', '--minutes', '0.00001');
  expect(lines).toMatchObject([{ type: 'missed', seeds: 0 }]);
  expect(status).toBe(1);
});
