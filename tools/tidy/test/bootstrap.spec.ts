/**
 * Goal: whoever calls an npm script wrongly hears it, before anything is installed or run; a run of many
 * parts counts what passed, fails when a part fails, and ends whatever hangs. Method: the script itself with
 * the environment that npm gives it, and its parts in processes of their own.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from '@jest/globals';

const SCRIPT = fileURLToPath(new URL('../../bootstrap.mjs', import.meta.url));
const PARTS = new URL('../../bootstrap/', import.meta.url).href;
const TYPESCRIPT = new URL('../../../node_modules/typescript/lib/typescript.js', import.meta.url).href;
const directory = mkdtempSync(join(tmpdir(), 'cairn-bootstrap-'));

afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function runNode(argv: readonly string[], env: Readonly<Record<string, string>>): Ran {
  const path = { PATH: process.env['PATH'] ?? '' };
  const result = spawnSync(process.execPath, argv, { env: { ...path, ...env }, encoding: 'utf8' });
  return { code: result.status, stdout: result.stdout, stderr: result.stderr };
}

/** Runs lines of JavaScript that import `name` from `file` of the script's parts. */
function runPart(file: string, name: string, lines: readonly string[], env = {}): Ran {
  const program = [`import { ${name} } from '${PARTS}${file}';`, ...lines].join('\n');
  return runNode(['--input-type=module', '-e', program], env);
}

describe('jest without what it needs', () => {
  it('says what to run first', () => {
    mkdirSync(join(directory, 'tools'));
    copyFileSync(
      fileURLToPath(new URL('../../jest.mjs', import.meta.url)),
      join(directory, 'tools/jest.mjs'),
    );
    expect(runNode([join(directory, 'tools/jest.mjs'), 'libs/foundation'], {})).toEqual({
      code: 1,
      stdout: '',
      stderr: 'Nothing is installed here yet: run `npm run build` once, then this again.\n',
    });
  });
});

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
    ['nemesis', { npm_config_engine: 'lsm' }, '--engine for itself', 'npm run nemesis -- --engine'],
  ])('does not run %s without the flags that npm took', (name, env, what, advice) => {
    const { code, stderr } = runNode([SCRIPT, name], { npm_lifecycle_event: name, ...env });
    expect([code, stderr]).toEqual([1, expect.stringContaining(what)]);
    expect(stderr).toContain(advice);
  });

  it('of suites refuses a name that is none, and says which there are', () => {
    const { code, stderr } = runNode([SCRIPT, 'test:full', 'sim', 'simm'], {});
    expect([code, stderr]).toEqual([1, expect.stringContaining('simm is not a suite; there are e2e, sim, ')]);
    expect(stderr).not.toContain('==');
  });

  it('that does not exist is answered with those that do', () => {
    const { code, stderr } = runNode([SCRIPT, 'tset'], {});
    expect([code, stderr]).toEqual([1, expect.stringContaining('<start|cli|sim|')]);
  });
});

describe('tests that are named by words', () => {
  const listed = (name: string, words: readonly string[]): string[] => {
    const argv = `[...${name}(${JSON.stringify(words)}), '--listTests']`;
    const { stdout } = runPart('tests.mjs', name, [`console.log(JSON.stringify(${argv}))`]);
    const jest = fileURLToPath(new URL('../../jest.mjs', import.meta.url));
    return runNode([jest, ...(JSON.parse(stdout) as string[])], {})
      .stdout.split('\n')
      .filter(Boolean);
  };

  it.each(['unitArgv', 'endToEndArgv'])('are no others: %s', (name) => {
    const isUnit = name === 'unitArgv';
    expect(listed(name, ['tools/tidy/test/rules']).length).toBe(isUnit ? 1 : 0);
    expect(listed(name, ['tools/e2e/test/cities']).length).toBe(isUnit ? 0 : 1);
  });

  it('are those that take long only when they are asked for', () => {
    const areLong = (files: readonly string[]): number =>
      files.filter((file) => file.endsWith('.long.e2e.spec.ts')).length;
    const all = listed('endToEndArgv', []);
    expect([areLong(all), all.length > 5]).toEqual([0, true]);
    expect(areLong(listed('endToEndArgv', ['tools/e2e/test/edges']))).toBe(1);
  });
});

describe('a run of several parts', () => {
  const sections = (parts: readonly string[], env = {}): Ran =>
    runPart(
      'sections.mjs',
      'runSections',
      [
        `const results = await runSections([${parts.join(', ')}]);`,
        'process.stdout.write(JSON.stringify(results.map(({ passed }) => passed)));',
      ],
      env,
    );

  it('goes on after a part that failed, and shows what each may take and took', () => {
    const { stdout, stderr } = sections([
      "{ title: 'One', minutes: 2, run: async () => 0 }",
      "{ title: 'Another', minutes: 0.5, run: async () => 3 }",
      "{ title: 'Last', minutes: 10, run: async () => 0 }",
    ]);
    expect(stdout).toBe('[true,false,true]');
    const table = stderr.slice(stderr.indexOf('== Summary ==')).replaceAll(/\d:\d\d/g, '0:00');
    expect(table.split('\n')).toEqual([
      '== Summary ==',
      '        part       budget  taken',
      'passed  One         2 min   0:00',
      'FAILED  Another   0.5 min   0:00',
      'passed  Last       10 min   0:00',
      '        together            0:00',
      '',
    ]);
  });

  it('repeats at its end what a part that failed said last', () => {
    const program =
      "for (let at = 0; at < 999; at += 1) console.log(at); console.error('why'); process.exitCode = 4";
    const bounded = (text: string): string =>
      `async (budgetMs) => (await import(${JSON.stringify(`${PARTS}processes.mjs`)}))` +
      `.runBounded(process.execPath, ['-e', ${JSON.stringify(text)}], budgetMs)`;
    const { stdout, stderr } = sections([
      `{ title: 'One', minutes: 2, run: ${bounded("console.log('well')")} }`,
      `{ title: 'Another', minutes: 2, run: ${bounded(program)} }`,
    ]);
    expect(stdout).toContain('998\n[true,false]');
    const end = stderr.slice(stderr.indexOf('== What'));
    expect(end).toMatch(/^== What Another said last ==\n[^]*\n998\nwhy\n\n== Summary ==\n/);
    expect(end).not.toContain('well');
    expect(end.length).toBeLessThan(4_000);
  });

  it('gives each part its own budget, or what is left of the whole', () => {
    const budget = (title: string): string =>
      `{ title: '${title}', minutes: 2, run: async (ms) => ms > 30_000 && ms <= 60_000 ? 0 : 1 }`;
    expect(sections([budget('a')], { CAIRN_TEST_MINUTES: '1' }).stdout).toBe('[true]');
    expect(sections([budget('a')]).stdout).toBe('[false]');
  });

  it('begins no part when the time of the whole is over', () => {
    const slow =
      "{ title: 'Slow', minutes: 1, run: () => new Promise((done) => setTimeout(done, 4_000, 0)) }";
    const { stdout, stderr } = sections([slow, slow], { CAIRN_TEST_MINUTES: '0.06' });
    expect(stdout).toBe('[true,false]');
    expect(stderr).toContain('Slow: not run, because no time is left');
  });

  it('refuses a time for the whole that is none', () => {
    const { code, stderr } = sections([], { CAIRN_TEST_MINUTES: 'soon' });
    expect([code, stderr]).toEqual([1, expect.stringContaining('CAIRN_TEST_MINUTES is soon: it must be')]);
  });
});

describe('a program with a time budget', () => {
  const bounded = (program: string, budgetMs: number): Ran =>
    runPart('processes.mjs', 'runBounded', [
      `const argv = ['-e', ${JSON.stringify(program)}];`,
      `process.exitCode = await runBounded(process.execPath, argv, ${budgetMs});`,
    ]);

  it('hands on its exit code', () => {
    expect(bounded('process.exit(7)', 60_000).code).toBe(7);
    expect(bounded('process.exit(0)', 60_000).code).toBe(0);
  });

  it('is ended when it hangs, and fails also when it ends well then', () => {
    const { code, stderr } = bounded('setInterval(() => 0, 1_000)', 300);
    expect([code, stderr]).toEqual([143, expect.stringContaining('which is all that it may take')]);
    const polite = "process.on('SIGTERM', () => process.exit(0)); setInterval(() => 0, 1_000)";
    expect(bounded(polite, 4_000).code).toBe(1);
  });

  it('takes what it has started with it, which would hold the output open', () => {
    const child = "require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => 0, 1e3)']";
    const { code } = bounded(`${child}, { stdio: 'inherit' }); process.exit(5)`, 60_000);
    expect(code).toBe(5);
  });
});

describe('the counts of npm test', () => {
  const report = (name: string, passed: number, failed: number, broken: number): string => {
    const path = join(directory, `${name}.json`);
    const counts = { numPassedTests: passed, numFailedTests: failed, numRuntimeErrorTestSuites: broken };
    writeFileSync(path, JSON.stringify(counts));
    return path;
  };
  const counts = (parts: readonly (readonly [report: string | undefined, passed: boolean])[]): unknown => {
    const [reports, results] = [
      parts.map(([path]) => ({ report: path })),
      parts.map(([, passed]) => ({ passed })),
    ];
    const argument = `${JSON.stringify(reports)}, ${JSON.stringify(results)}`;
    const { stdout, stderr } = runPart('tests.mjs', 'testCounts', [
      `process.stdout.write(JSON.stringify(testCounts(${argument})));`,
    ]);
    expect(stderr).toBe('');
    return JSON.parse(stdout);
  };

  it('are those of all test runs', () => {
    const parts = [
      [undefined, true],
      [report('unit', 100, 0, 0), true],
      [report('end-to-end', 20, 2, 1), false],
    ] as const;
    expect(counts(parts)).toEqual({ passed: 120, failed: 3 });
  });

  it('have a failure for each check that failed, and for a run that did not end', () => {
    const parts = [
      [undefined, false],
      [report('whole', 100, 0, 0), false],
      [join(directory, 'never written.json'), false],
    ] as const;
    expect(counts(parts)).toEqual({ passed: 100, failed: 3 });
  });
});

describe('the floor of the coverage', () => {
  /** A file that is not loaded has none covered and as many branches as are counted in it. */
  const judge = (files: Readonly<Record<string, readonly [covered: number, total: number]>>): unknown => {
    const entries = Object.entries(files).map(([path, [covered, total]]) => {
      const counts = { covered, total: covered === 0 ? 1 : total };
      return [`/checkout/${path}`, { branches: counts, lines: counts }] as const;
    });
    const totals = Object.entries(files).map(([path, [, total]]) => [`/checkout/${path}`, total] as const);
    const [summary, counted] = [{ ...Object.fromEntries(entries), total: {} }, Object.fromEntries(totals)];
    const { stdout, stderr } = runPart('coverage.mjs', 'judgeCoverage', [
      `const counted = ${JSON.stringify(counted)};`,
      `const judged = judgeCoverage(${JSON.stringify(summary)}, '/checkout', (path) => counted[path]);`,
      'process.stdout.write(JSON.stringify(judged));',
    ]);
    expect(stderr).toBe('');
    return JSON.parse(stdout);
  };

  it('is kept at 85 % of all branches, not below, those of files that no test loads among them', () => {
    expect(judge({ 'libs/a/b/src/c.ts': [85, 100] })).toMatchObject({ isKept: true });
    expect(judge({ 'libs/a/b/src/c.ts': [849, 1_000] })).toMatchObject({ isKept: false });
    const loaded = { 'libs/a/b/src/c.ts': [85, 85] } as const;
    expect(judge({ ...loaded, 'libs/a/b/src/d.ts': [0, 15] })).toMatchObject({ isKept: true });
    expect(judge({ ...loaded, 'libs/a/b/src/d.ts': [0, 16] })).toMatchObject({ isKept: false });
  });

  it('comes with the libraries and files that lack most, and with those that no test loads', () => {
    const { text } = judge({
      'libs/a/b/src/good.ts': [90, 90],
      'libs/a/b/src/bad.ts': [1, 10],
      'libs/a/b/src/types.ts': [0, 0],
      'apps/c/src/main.ts': [0, 20],
    }) as { readonly text: string };
    const [libraries, files] = text.split('Files with the most branches that no unit test takes:');
    expect(libraries).toMatch(/ 0\.0 % +0 of 20 +apps\/c\n +91\.0 % +91 of 100 +libs\/a\/b\n/);
    expect(files).toMatch(
      /^\n.* 0 of 20 +apps\/c\/src\/main\.ts\n +10\.0 % +1 of 10 +libs\/a\/b\/src\/bad\.ts\n/,
    );
    expect(files).toMatch(/Files that no unit test loads:\n +0\.0 % +0 of 20 +apps\/c\/src\/main\.ts\n/);
    expect(files).toContain('75.8 % of 120 branches; the floor is 85 %');
    expect(text).not.toContain('types.ts');
  });

  it.each([
    ["export type A = 'a' | 'b'; export interface B { c?: A }", 0],
    ["export * from './a.js';", 0],
    ['declare function a(): void; export abstract class B { abstract c(): void }', 0],
    ['export function a(b?: number) { return b ?? 1; }', 2],
    ['const a = (b) => { if (b) return 1; else return 2; };', 3],
    ['for (const a of b) { try { a(); } catch { c ||= a ? 1 : 2; } }', 5],
    ['switch (a) { case 1: case 2: break; default: }', 3],
  ])('counts the branches of %s', (source, branches) => {
    const { stdout } = runPart('branches.mjs', 'branchesIn', [
      `import ts from '${TYPESCRIPT}';`,
      `process.stdout.write(String(branchesIn(ts, ${JSON.stringify(source)})));`,
    ]);
    expect(stdout).toBe(String(branches));
  });
});
