import { Linter } from 'eslint';
import type { Rule } from 'eslint';
import { describe, expect, it } from '@jest/globals';
import { importedRooms } from '../src/document-rules.js';
import { readTree, ROOT } from '../src/tree.js';

interface Boundaries {
  readonly LAYERS: Readonly<Record<string, readonly string[]>>;
  readonly ROOMS: Readonly<Record<string, readonly string[]>>;
  readonly boundaries: Rule.RuleModule;
}
const MODULE = new URL('../boundaries.mjs', import.meta.url).href;
const { LAYERS, ROOMS, boundaries } = (await import(MODULE)) as Boundaries;

const linter = new Linter({ cwd: ROOT });

/** What lint says of a source file with this text. */
function saidOf(path: string, text: string): string[] {
  const found = linter.verify(
    text,
    {
      files: ['**/*.ts'],
      plugins: { cairn: { rules: { boundaries } } },
      rules: { 'cairn/boundaries': ['error', { layers: LAYERS, rooms: ROOMS }] },
    },
    { filename: `${ROOT}/${path}` },
  );
  return found.map(({ message }) => message);
}

const LAYERS_CHAPTER = 'docs/architecture.md#layers.';
const ROOMS_CHAPTER = 'docs/architecture.md#rooms.';

describe('the rule about imports', () => {
  it.each([
    [
      'libs/foundation/base/src/a.ts',
      '@cairn/raft',
      `@cairn/raft stands in the room consensus; foundation imports none: ${ROOMS_CHAPTER}`,
    ],
    [
      'libs/nodes/shard-node/src/a.ts',
      '@cairn/client',
      `@cairn/client stands in the room doors; nodes imports txn, cluster, consensus, storage, foundation: ${ROOMS_CHAPTER}`,
    ],
    [
      'libs/doors/client/src/a.ts',
      '@cairn/metadata',
      `@cairn/metadata stands in the room cluster; doors imports foundation: ${ROOMS_CHAPTER}`,
    ],
    [
      'libs/doors/client/src/a.ts',
      '@cairn/routing',
      `@cairn/routing stands in the room cluster; doors imports foundation: ${ROOMS_CHAPTER}`,
    ],
    [
      'apps/shard/src/a.ts',
      '@cairn/cli',
      `@cairn/cli is an application, and nobody imports those: ${LAYERS_CHAPTER}`,
    ],
    [
      'tools/e2e/test/a.ts',
      '@cairn/router',
      `@cairn/router is an application, and nobody imports those: ${LAYERS_CHAPTER}`,
    ],
    [
      'apps/shard/src/a.ts',
      '@cairn/sim',
      `@cairn/sim is a tool, and only tools import those: ${LAYERS_CHAPTER}`,
    ],
    [
      'libs/storage/mvcc/src/a.ts',
      '@cairn/ports/deep/down',
      `@cairn/ports stands in the layer ports; pure imports pure: ${LAYERS_CHAPTER}`,
    ],
  ])('refuses in %s %s', (path, specifier, sentence) => {
    for (const text of [
      `import { x } from '${specifier}'; x();`,
      `import '${specifier}';`,
      `export * from '${specifier}';`,
      `export { x } from '${specifier}';`,
      `await import('${specifier}');`,
    ])
      expect(saidOf(path, text)).toEqual([sentence]);
  });

  it.each([
    ['libs/nodes/shard-node/src/a.ts', '@cairn/store'],
    ['libs/storage/mvcc/src/a.ts', '@cairn/base'],
    ['libs/storage/mvcc/src/a.ts', '@cairn/mvcc'],
    ['libs/doors/client/src/a.ts', '@cairn/wire/gen/cairn/v1/kv.js'],
    ['apps/shard/src/a.ts', '@cairn/shard-node'],
    ['tools/e2e/test/a.ts', '@cairn/local-cluster'],
    ['tools/e2e/test/a.ts', '@cairn/client'],
    ['libs/foundation/base/src/a.ts', './other.js'],
    ['libs/foundation/base/src/a.ts', 'fast-check'],
  ])('leaves alone in %s %s', (path, specifier) => {
    expect(saidOf(path, `import '${specifier}'; export const x = 1;`)).toEqual([]);
  });

  it('has the rooms of the architecture', () => {
    const architecture = readTree().find(({ path }) => path === 'docs/architecture.md');
    expect(importedRooms(architecture?.text ?? '')).toEqual(
      new Map(Object.entries(ROOMS).map(([room, others]) => [room, [...others]])),
    );
  });
});
