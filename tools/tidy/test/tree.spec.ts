import { describe, expect, it } from '@jest/globals';
import { builtOfNothing } from '../src/built-rules.js';
import {
  DOCUMENT_RULES,
  factsOf,
  unexplainedWords,
  unlinkedTimelines,
  wrongRooms,
} from '../src/document-rules.js';
import { dependencyMismatches, importCycles, TYPE_CIRCLES_LEFT, unreferenced } from '../src/import-rules.js';
import { stumps } from '../src/prose-rules.js';
import { stoppedHelps, TEXT_RULES } from '../src/text-rules.js';
import { readBuilt, readDocuments, readPaths, readTree } from '../src/tree.js';

const tree = readTree();
const sources = tree.filter((file) =>
  /^(libs\/[^/]+|apps|tools)\/[^/]+\/(src|test)\/.*\.ts$/.test(file.path),
);
const manifests = tree.filter((file) => /^(libs\/[^/]+|apps|tools)\/[^/]+\/package\.json$/.test(file.path));

const documents = tree.filter((file) => file.path.endsWith('.md'));
const facts = factsOf(tree, readDocuments(), readPaths());

/** Goal: the repository keeps its own rules. Method: walk every tracked file. */
describe('the tree', () => {
  it('is there', () => {
    expect(sources.length).toBeGreaterThan(50);
    expect(manifests.length).toBeGreaterThan(20);
  });

  it.each([...TEXT_RULES, stumps].map((rule) => [rule.name, rule] as const))('has no %s', (_, rule) => {
    expect(tree.flatMap(rule)).toEqual([]);
  });

  it('has no words about metrics that end with a stop', () => {
    const stopped = sources.filter((each) => stoppedHelps(each).length > 0).map(({ path }) => path);
    expect(stopped).toEqual([]);
  });

  it.each(DOCUMENT_RULES.map((rule) => [rule.name, rule] as const))(
    'has no %s in its documents',
    (_, rule) => {
      expect(documents.flatMap((file) => rule(file, facts))).toEqual([]);
    },
  );

  it('shows the rooms as they are', () => {
    expect(wrongRooms(tree)).toEqual([]);
  });

  it('explains every word of cairn debug', () => {
    expect(unexplainedWords(tree)).toEqual([]);
  });

  it('names every timeline where it happens', () => {
    expect(unlinkedTimelines(tree)).toEqual([]);
  });

  it('has no import cycles', () => {
    expect(importCycles(sources)).toEqual([]);
  });

  it('has no cycles of types, but for those of the projects that are named', () => {
    const projectOf = (cycle: string): string => cycle.split('/src/')[0] ?? '';
    const cycles = importCycles(sources, { withTypes: true });
    expect(cycles.filter((cycle) => !TYPE_CIRCLES_LEFT.includes(projectOf(cycle)))).toEqual([]);
    const left = new Set(cycles.map(projectOf));
    expect(TYPE_CIRCLES_LEFT.filter((project) => !left.has(project))).toEqual([]);
  });

  it('has no files that nobody imports', () => {
    expect(unreferenced(sources, manifests)).toEqual([]);
  });

  it('was built of nothing but what is there', () => {
    expect(builtOfNothing(readBuilt(), readPaths())).toEqual([]);
  });

  it('declares exactly the workspace packages it imports', () => {
    expect(manifests.flatMap((manifest) => dependencyMismatches(manifest, tree))).toEqual([]);
  });

  it('has a README in every library, application and tool', () => {
    const paths = new Set(tree.map((file) => file.path));
    const missing = manifests
      .map((file) => file.path.replace('package.json', 'README.md'))
      .filter((path) => !paths.has(path));
    expect(missing).toEqual([]);
  });
});
