import { describe, expect, it } from '@jest/globals';
import { swallowedAssertions } from '../src/catch-rules.js';
import { dependencyMismatches, importCycles, packageNameOf, unreferenced } from '../src/import-rules.js';
import { leftovers, longFiles, placesOfOneMachine, titles, wideLines } from '../src/text-rules.js';
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
