import { describe, expect, it } from '@jest/globals';
import { builtOfNothing } from '../src/built-rules.js';
import { swallowedAssertions } from '../src/catch-rules.js';
import {
  anchorsOf,
  brokenLinks,
  factsOf,
  unknownCommands,
  unknownFiles,
  unknownMetrics,
  unknownPhrases,
  unknownWitnesses,
  unexplainedWords,
  unlinkedTimelines,
  wrongRooms,
  type Facts,
} from '../src/document-rules.js';
import { dependencyMismatches, importCycles, packageNameOf, unreferenced } from '../src/import-rules.js';
import { stumps } from '../src/prose-rules.js';
import {
  leftovers,
  longFiles,
  placesOfOneMachine,
  stoppedHelps,
  titles,
  wideLines,
} from '../src/text-rules.js';
import { importsOf } from '../src/tree.js';

const file = (path: string, text: string): { path: string; text: string } => ({ path, text });

/** Goal: each rule finds what it is for and nothing else. The tree itself is checked in `tree.spec.ts`. */
describe('text rules', () => {
  it('find wide lines, long files, leftovers, machine paths and missing titles', () => {
    expect(wideLines(file('a.ts', `ok\n${'x'.repeat(111)}`))).toEqual(['a.ts:2: wider than 110 columns']);
    expect(wideLines(file('a.md', 'x'.repeat(111)))).toEqual([]);
    expect(longFiles(file('a.ts', '\n'.repeat(700)))).toHaveLength(1);
    expect(longFiles(file('a.spec.ts', '\n'.repeat(700)))).toEqual([]);
    expect(leftovers(file('a.ts', `// ${'TO' + 'DO'}: later`))).toHaveLength(1);
    expect(leftovers(file('a.ts', 'const todos = 1;'))).toEqual([]);
    expect(placesOfOneMachine(file('a.ts', `'${'/ho' + 'me/me'}'`))).toHaveLength(1);
    expect(titles(file('a.md', '# One\n\n```\n# not a title\n```\n'))).toEqual([]);
    expect(titles(file('a.md', '# One\n# Two\n'))).toEqual(['a.md: 2 first-level titles, must be one']);
  });
});

describe('the rule about what was built', () => {
  it('finds compiled files without a source', () => {
    const paths = ['libs/storage/engine/src/index.ts', 'apps/shard/src/kv/main.ts'];
    const built = ['libs/storage/engine/dist/index.js', 'apps/shard/dist/kv/main.js'];
    expect(builtOfNothing(built, paths)).toEqual([]);
    expect(builtOfNothing([...built, 'libs/storage/engine/dist/lmdb.js'], paths)).toEqual([
      'libs/storage/engine/dist/lmdb.js: has no source; npm run build removes it',
    ]);
  });
});

describe('the rule about words of metrics', () => {
  it('finds those that end with a stop', () => {
    const text = "m.counter('cairn_a_total', 'As.'); m\n.gauge(\n'cairn_b',\n'Bs; 0 = none',\n['x']);";
    expect(stoppedHelps(file('libs/r/l/src/a.ts', text))).toEqual([
      'libs/r/l/src/a.ts: the words about cairn_a_total end with a stop',
    ]);
    expect(stoppedHelps(file('libs/r/l/src/a.spec.ts', text))).toEqual([]);
  });
});

describe('the rule about what is caught', () => {
  const found = (text: string, path = 'libs/foundation/wire/src/a.ts'): string[] =>
    swallowedAssertions(file(path, text));

  it('finds handlers that go on after an assertion', () => {
    const said =
      'libs/foundation/wire/src/a.ts:2: goes on after an assertion that failed: ask rethrowInvariant first';
    expect(found('try {\n} catch (error) {\n  log(error);\n}')).toEqual([said]);
    expect(found('try {\n} catch {\n  return undefined;\n}')).toEqual([said]);
    expect(found('work\n  .catch(() => undefined);')).toEqual([said]);
    expect(
      found("try {\n} catch (error) {\n  if (error.retryClass === 'fatal') throw error;\n  again();\n}"),
    ).toEqual([said]);
    expect(found('work.then(done,\n  (error: unknown) => {\n    log(error);\n  });')).toEqual([said]);
  });

  it('leaves those alone that let it through, go on after one kind only, or belong to no process', () => {
    for (const body of [
      'rethrowInvariant(error); log(error);',
      'callback(toServiceError(error));',
      'this.#parts.fatal(error);',
      'if (!CairnError.is(error)) throw error; log(error);',
      "await close(); throw new CairnError('INTERNAL', messageOf(error));",
      'for (const { reject } of waiting) reject(error);',
    ]) {
      expect(found(`try {\n} catch (error) {\n  ${body}\n}`)).toEqual([]);
    }
    expect(found('work.catch(rethrowInvariant);')).toEqual([]);
    expect(found('work.catch(() => undefined);', 'libs/foundation/wire/src/a.spec.ts')).toEqual([]);
    expect(found('work.catch(() => undefined);', 'libs/doors/client/src/a.ts')).toEqual([]);
  });
});

describe('import rules', () => {
  it('read static, dynamic, type and re-exporting imports, not comments', () => {
    const text = [
      "import { a } from './a.js';",
      "import type { B } from './b.js';",
      "import 'reflect-metadata';",
      "export * from './c.js';",
      "const d = await import('./d.js');",
      "// import { x } from './x.js';",
      "import {\n  e,\n} from './e.js';",
    ].join('\n');
    expect(importsOf(text).sort()).toEqual([
      './a.js',
      './b.js',
      './c.js',
      './d.js',
      './e.js',
      'reflect-metadata',
    ]);
  });

  it('find cycles', () => {
    const a = file('libs/l/src/a.ts', "import './b.js';");
    const b = file('libs/l/src/b.ts', "import './c.js';");
    const c = file('libs/l/src/c.ts', "import './a.js';");
    expect(importCycles([a, b, c])).toEqual([
      'libs/l/src/a.ts → libs/l/src/b.ts → libs/l/src/c.ts → libs/l/src/a.ts',
    ]);
    expect(importCycles([a, b])).toEqual([]);
    const onlyType = file('libs/l/src/c.ts', "import type { A } from './a.js';");
    expect(importCycles([a, b, onlyType])).toEqual([]);
    expect(importCycles([a, b, onlyType], { withTypes: true })).toHaveLength(1);
  });

  it('find files that nobody imports', () => {
    const index = file('libs/l/src/index.ts', "export * from './a.js';");
    const a = file('libs/l/src/a.ts', '');
    const b = file('libs/l/src/b.ts', '');
    expect(unreferenced([index, a, b], [])).toEqual(['libs/l/src/b.ts: no other file imports it']);
    const manifest = file('libs/l/package.json', '{"exports": {"./b": "./src/b.ts"}}');
    expect(unreferenced([index, a, b], [manifest])).toEqual([]);
    const starter = file('libs/l/src/a.ts', "new URL('./b.js', import.meta.url)");
    expect(unreferenced([index, starter, b], [])).toEqual([]);
  });

  it('find dependencies that are missing or unused', () => {
    const manifest = file('libs/l/package.json', '{"name": "@cairn/l", "dependencies": {"@cairn/x": "*"}}');
    // Put together, so that the check of the tree does not take it for an import of this file.
    const source = file('libs/l/src/index.ts', `import '${'@cai' + 'rn/y'}/testing';`);
    expect(dependencyMismatches(manifest, [manifest, source])).toEqual([
      'libs/l/package.json: imports @cairn/y without declaring it',
      'libs/l/package.json: declares @cairn/x without importing it',
    ]);
    expect(packageNameOf('zod/v4')).toBe('zod');
  });
});

describe('the rule about stumps', () => {
  const long = 'a'.repeat(90);

  it('finds a short line in the middle of a paragraph of a comment', () => {
    const text = `/**\n * ${long}\n * and this\n * goes on with the rest of the sentence.\n */`;
    expect(stumps(file('a.ts', text))).toEqual(['a.ts:3: a stump of a line in the middle of a paragraph']);
  });

  it('leaves the last line, items, tags, code and what did not fit alone', () => {
    for (const lines of [
      [` * ${long}`, ' * the end.'],
      [' * One:', ' * - an item', ' * - another one'],
      [' * Answers it.', ' * @throws CairnError'],
      [' * As here:', ' *', ' *   some code'],
      [' * short', ` * ${'b'.repeat(105)} and more`],
    ]) {
      expect(stumps(file('a.ts', ['/**', ...lines, ' */'].join('\n')))).toEqual([]);
    }
  });
});

describe('rules about documents', () => {
  const tree = [
    file('package.json', '{"scripts":{"sim":"x"}}'),
    file('apps/cli/src/a.ts', "program.command('status')"),
    file('libs/room/one/src/m.ts', "gauge('cairn_one_bytes'); gauge('cairn_one_rows_total');"),
    file('libs/room/one/src/a.spec.ts', "describe('a thing', () => { it('does one\\'s work', () => {}); });"),
    file('tools/sim/src/mutants/table.ts', "{ name: 'broken-thing' }"),
    file('docs/a.md', '# A title\n\n## Of a part\n\n## Of a part\n\nflags: `--peers`'),
  ];
  const transcript = 'libs/consensus/raft/test/transcripts/vote.txt';
  const facts: Facts = factsOf(
    tree,
    tree.filter(({ path }) => path.endsWith('.md')),
    [...tree.map(({ path }) => path), transcript],
  );
  const page = (text: string): { path: string; text: string } => file('docs/timelines/b.md', text);

  it('find links to files and places that are not there', () => {
    expect([...anchorsOf('# `a` b: c\n## X\n## X')]).toEqual(['a-b-c', 'x', 'x-1']);
    const good = '[a](../a.md) [b](../a.md#of-a-part-1) [c](https://x.org/y) [d](../../libs/room)';
    expect(brokenLinks(page(good), facts)).toEqual([]);
    expect(brokenLinks(page('\n[a](a.md) [b](../a.md#none)'), facts)).toEqual([
      'docs/timelines/b.md:2: no file docs/timelines/a.md',
      'docs/timelines/b.md:2: no place #none in docs/a.md',
    ]);
  });

  it('find files, scripts, commands, flags and metrics that are not there', () => {
    expect(unknownFiles(page('`m.ts`, `one/src/m.ts`, `x.json`, `other.ts`'), facts)).toEqual([
      'docs/timelines/b.md:1: no file other.ts',
    ]);
    const commands =
      'npm run sim, npm run simm, `cairn status`, npx cairn stats\n$NODE apps/x/dist/main.js --peers 1 --peer 2';
    expect(unknownCommands(page(commands), facts)).toEqual([
      'docs/timelines/b.md:1: no script simm',
      'docs/timelines/b.md:1: no command cairn stats',
      'docs/timelines/b.md:2: no flag --peer',
    ]);
    const metrics =
      '`cairn_one_bytes`, `_rows_total{kind}`, `cairn_one_{bytes,rows_total}`, `cairn_`, `cairn_two`, `_none`';
    expect(unknownMetrics(page(metrics), facts)).toEqual([
      'docs/timelines/b.md:1: no metric cairn_two',
      'docs/timelines/b.md:1: no metric that begins as cairn_two and ends in _none',
    ]);
  });

  it('find phrases of logs that nobody writes', () => {
    const sayings = factsOf(
      [
        file(
          'libs/room/one/src/m.ts',
          "warn('the disk is away, others lead'); const a = `dir ${b} holds ${c} ` +\n  `and no ${d}`;",
        ),
        file('libs/room/one/src/m.spec.ts', "'a phrase of a test'"),
      ],
      [],
      [],
    );
    const found = (text: string, path = 'docs/operations.md'): string[] =>
      unknownPhrases(file(path, text), sayings);
    expect(
      found(
        '`the disk is away,\nothers lead` `… holds … and no node.json` `dir 7 holds …` `word` `--a b` `A=1 B=2`',
      ),
    ).toEqual([]);
    expect(found('```\nthe shell `x\n```\n`the disk is gone` `and no … holds`')).toEqual([
      'docs/operations.md:4: nobody says "the disk is gone"',
      'docs/operations.md:4: nobody says "and no … holds"',
    ]);
    expect(found('`a phrase of a test`')).toHaveLength(1);
    expect(found('`the disk is gone`', 'docs/other.md')).toEqual([]);
  });

  it('find words of cairn debug that have no legend', () => {
    const text = file(
      'libs/consensus/raft/src/progress.ts',
      '`${this.id}: match=${match} next-one=${next} ${a}=${b}`',
    );
    const other = file('libs/consensus/raft/src/core.ts', '`other=${x}`');
    const page = file('docs/operations.md', '| `match=` `x` |');
    expect(unexplainedWords([text, other, page])).toEqual(['no legend of next-one=']);
  });

  it('find tests, defects and transcripts that timelines name and that are not there', () => {
    const good = '`a.spec.ts` "does one\'s work"; defect `broken-thing`; transcripts `vote`';
    expect(unknownWitnesses(page(good), facts)).toEqual([]);
    const bad = '`a.spec.ts` "does nothing"; defects `broken-thing`, `no-thing`; transcript `veto`';
    expect(unknownWitnesses(page(bad), facts)).toEqual([
      'docs/timelines/b.md:1: no test "does nothing" in a.spec.ts',
      'docs/timelines/b.md:1: no defect no-thing',
      'docs/timelines/b.md:1: no transcript veto',
    ]);
    expect(unlinkedTimelines([page(''), file('a.ts', '// Timeline: docs/timelines/c.md')])).toEqual([
      'docs/timelines/b.md: no source file names it',
      'docs/timelines/c.md: is named and not there',
    ]);
    const overview = file('docs/timelines/README.md', '| [b](b.md) | what | `one/src/a.ts`, `e.ts` |');
    const a = file('libs/room/one/src/a.ts', '// Timeline: docs/timelines/b.md');
    expect(unlinkedTimelines([page(''), overview, a, file('libs/room/one/src/e.ts', '')])).toEqual([
      'e.ts: docs/timelines/b.md begins there, and it does not name it',
    ]);
  });

  it('find rooms that are shown otherwise than they are', () => {
    const manifest = (path: string, ...names: string[]): { path: string; text: string } =>
      file(
        `libs/${path}/package.json`,
        JSON.stringify({ dependencies: Object.fromEntries(names.map((name) => [`@cairn/${name}`, '*'])) }),
      );
    const libraries = [manifest('low/base'), manifest('high/top', 'base')];
    const shown = [
      file('libs/README.md', '| `low` | what | `base` |\n| `high` | what | `top` |'),
      file('docs/architecture.md', '| pure | `base`, `top` | all |\n\n| `low` | none |\n| `high` | `low` |'),
    ];
    expect(wrongRooms([...libraries, ...shown])).toEqual([]);
    const named = file('libs/high/folder/package.json', JSON.stringify({ name: '@cairn/top' }));
    expect(wrongRooms([libraries[0] ?? named, named, ...shown])).toEqual([
      'docs/architecture.md: high imports ',
    ]);
    expect(wrongRooms([...libraries, manifest('high/new', 'top'), ...shown])).toEqual([
      'libs/README.md: high has top new',
      'docs/architecture.md: new is in no layer',
    ]);
    expect(wrongRooms([libraries[0] ?? shown[0] ?? page(''), manifest('high/top'), ...shown])).toEqual([
      'docs/architecture.md: high imports ',
    ]);
  });
});
