import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { showAgainst, type AgainstLine } from './against-results.js';
import { REFERENCE_COMMIT } from './against-config.js';
import { Children } from './children.js';
import { runToEnd } from './child-output.js';
import { judgeRatios } from './paired-ratios.js';
import { findCommit, NoReferenceError } from './reference-build.js';
import { runSession } from './session.js';
import { EXIT } from './stage.js';

describe('ratios of pairs', () => {
  test('are lost when only noise above the risk would be on the other side of the floor', () => {
    const below = [0.95, 0.96, 0.94, 0.97, 0.95, 0.96, 0.93, 0.97];
    expect(judgeRatios([...below, 1.2], 0.98)).toEqual({
      median: 0.96,
      spread: [0.93, 1.2],
      interval: [0.94, 0.97],
      verdict: 'lost',
    });
    expect(judgeRatios([...below.slice(1), 1.1, 1.2], 0.98).verdict).toBe('unclear');
  });

  test('are kept when the lower bound is at the floor', () => {
    expect(judgeRatios([0.98, 0.99, 1, 1.01, 1.02], 0.98).verdict).toBe('kept');
    expect(judgeRatios([0.979, 0.99, 1, 1.01, 1.02], 0.98).verdict).toBe('unclear');
    expect(judgeRatios([0.5, 0.98, 1, 1, 1, 1, 1, 1.01, 1.02], 0.98).verdict).toBe('kept');
  });

  test('have bounds that are wrong no more often than once in twenty times', () => {
    const ordered = (pairs: number): number[] => Array.from({ length: pairs }, (_, at) => at + 1);
    const bounds = [5, 7, 8, 9, 11, 12, 20].map((pairs) => judgeRatios(ordered(pairs), 1).interval);
    // From the table of the sign test, one-sided.
    expect(bounds).toEqual([
      [1, 5],
      [1, 7],
      [2, 7],
      [2, 8],
      [3, 9],
      [3, 10],
      [6, 15],
    ]);
    expect(() => judgeRatios([1, 1, 1, 1], 1)).toThrow('enough pairs');
  });
});

describe('the comparison with the reference', () => {
  const line = (work: string, verdict: AgainstLine['throughputRatio']['verdict']): AgainstLine => {
    const runs = { opsPerSecond: 12_345, cpuUsPerOp: 46.2, errors: 0, otherCores: 0.1 };
    const throughputRatio = { median: 0.97, spread: [0.9, 1], interval: [0.95, 0.975], verdict } as const;
    return { work, pairs: 9, reference: runs, current: runs, throughputRatio };
  };

  test('shows ratios with their spread, and a sentence per work', () => {
    const text = showAgainst([line('put', 'lost'), line('get', 'kept'), line('scan', 'unclear')], 0.98);
    expect(text).toMatch(/put +9 +12,345 +12,345 +0\.970 +0\.900\.\.1\.000 +0\.950\.\.0\.975 +46\.2 +46\.2/);
    expect(text).toContain('put: SLOWER, at most 0.975 of the reference, and the floor is 0.98');
    expect(text).toContain('get: at least 0.950 of the reference');
    expect(text).toContain('scan: between 0.950 and 0.975 of the reference; more --repetitions');
    expect(text).not.toContain('!');
  });

  test('says when runs had errors or were disturbed', () => {
    const calm = line('put', 'kept');
    const troubled = { ...calm, current: { ...calm.current, errors: 3, otherCores: 0.8 } };
    expect(showAgainst([troubled], 0.98)).toMatch(/! 3 operations failed\n! Others used up to 0\.80 cores/);
  });

  test('has a full hash as its reference, which a name of git would not be for ever', () => {
    expect(REFERENCE_COMMIT).toMatch(/^[0-9a-f]{40}$/);
  });

  test('refuses a commit that is not there with a sentence and an exit code of its own', async () => {
    const commit = 'f'.repeat(40);
    const root = resolve(import.meta.dirname, '../../..');
    expect(() => findCommit(root, commit)).toThrow(NoReferenceError);
    const said: string[] = [];
    const code = await runSession({
      argv: ['against', '--commit', commit],
      env: {},
      workingDirectory: root,
      out: (text) => said.push(text),
      say: (text) => said.push(text),
      onStopRequest: () => undefined,
    });
    expect([code, said]).toEqual([
      EXIT.noReference,
      [expect.stringContaining(`The commit ${commit} is not in this checkout`)],
    ]);
  });

  test('refuses a directory without history', () => {
    const directory = mkdtempSync(join(tmpdir(), 'cairn-archive-'));
    try {
      expect(() => findCommit(directory, REFERENCE_COMMIT)).toThrow('git fetch --unshallow');
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe('a program that is run to its end', () => {
  const run = (program: string, limitMs = 60_000): Promise<string> =>
    runToEnd(new Children(), ['-e', program], { limitMs });

  test('answers what it wrote, or how it failed', async () => {
    expect(await run("process.stdout.write('done')")).toBe('done');
    await expect(run('process.exit(3)')).rejects.toThrow('it ended with exit code 3');
  });

  test('is ended when it takes too long', async () => {
    await expect(run('setInterval(() => 0, 1_000)', 200)).rejects.toThrow('it was not done after 0 s');
  });
});
