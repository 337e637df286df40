import { importsOf, resolveRelative, valueImportsOf, type TreeFile } from './tree.js';

/** Files by which files they import, both below one project's `src`. */
function graphOf(sources: readonly TreeFile[], importsIn: (text: string) => string[]): Map<string, string[]> {
  const known = new Set(sources.map((file) => file.path));
  return new Map(
    sources.map((file) => {
      const relative = importsIn(file.text).filter((specifier) => specifier.startsWith('.'));
      return [
        file.path,
        relative.map((each) => resolveRelative(file.path, each)).filter((path) => known.has(path)),
      ];
    }),
  );
}

/**
 * Import cycles among files, each as `a → b → a`. Type imports order nothing, so they do not count, unless
 * `withTypes`: files that know each other's types are read, and changed, together.
 */
export function importCycles(sources: readonly TreeFile[], { withTypes = false } = {}): string[] {
  const graph = graphOf(sources, withTypes ? importsOf : valueImportsOf);
  const done = new Set<string>();
  const cycles: string[] = [];
  const path: string[] = [];
  const visit = (file: string): void => {
    const at = path.indexOf(file);
    if (at >= 0) {
      cycles.push([...path.slice(at), file].join(' → '));
      return;
    }
    if (done.has(file)) return;
    path.push(file);
    for (const next of graph.get(file) ?? []) visit(next);
    path.pop();
    done.add(file);
  };
  for (const file of graph.keys()) visit(file);
  return cycles;
}

/**
 * Projects whose files still know each other's types in a circle. They were there before the rule; who takes
 * the last one apart takes the name from here.
 */
export const TYPE_CIRCLES_LEFT: readonly string[] = [
  'libs/doors/client',
  'libs/foundation/observability',
  'libs/foundation/runtime-sim',
  'libs/foundation/wire',
  'libs/storage/lsm',
  'tools/bench',
];

/** A program that another file starts as a thread or process of its own. */
const PROGRAM = /new URL\(\s*'(\.[^']+\.js)'\s*,\s*import\.meta\.url/g;

function programsIn(text: string): string[] {
  return [...text.matchAll(PROGRAM)].map((match) => match[1] ?? '');
}

const ENTRY = /\/src\/(index|main|testing)\.ts$|\.spec\.ts$|\.bench\.ts$/;

/** Source files that no other file imports or starts, and that nothing starts with. */
export function unreferenced(sources: readonly TreeFile[], packageFiles: readonly TreeFile[]): string[] {
  const graphs = [graphOf(sources, importsOf), graphOf(sources, programsIn)];
  const imported = new Set(graphs.flatMap((graph) => [...graph.values()].flat()));
  // Entry points that a package.json names: exports, programs.
  const named = (path: string): boolean => {
    const [folder = '', file = ''] = path.split('/src/');
    const manifest = packageFiles.find((each) => each.path === `${folder}/package.json`);
    const names = [`./src/${file}`, `dist/${file.replace(/\.ts$/, '.js')}`];
    return names.some((name) => manifest?.text.includes(name) === true);
  };
  return sources
    .map((file) => file.path)
    .filter((path) => path.includes('/src/') && !ENTRY.test(path) && !imported.has(path) && !named(path))
    .map((path) => `${path}: no other file imports it`);
}

interface Manifest {
  readonly name: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  /** What only tests need. */
  readonly devDependencies?: Readonly<Record<string, string>>;
}

/** `@scope/name/deep` → `@scope/name`. */
export function packageNameOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/** Workspace packages that a project imports and does not declare, or declares and does not import. */
export function dependencyMismatches(manifestFile: TreeFile, all: readonly TreeFile[]): string[] {
  const folder = manifestFile.path.replace(/package\.json$/, '');
  const manifest = JSON.parse(manifestFile.text) as Manifest;
  const own = all.filter((file) => file.path.startsWith(folder) && /\.(ts|mjs)$/.test(file.path));
  const imported = new Set(
    own
      .flatMap((file) => importsOf(file.text))
      .filter((specifier) => specifier.startsWith('@cairn/'))
      .map(packageNameOf)
      .filter((name) => name !== manifest.name),
  );
  const names = [...Object.keys(manifest.dependencies ?? {}), ...Object.keys(manifest.devDependencies ?? {})];
  const declared = new Set(names.filter((name) => name.startsWith('@cairn/')));
  const missing = [...imported].filter((name) => !declared.has(name));
  const unused = [...declared].filter((name) => !imported.has(name));
  return [
    ...missing.map((name) => `${manifestFile.path}: imports ${name} without declaring it`),
    ...unused.map((name) => `${manifestFile.path}: declares ${name} without importing it`),
  ];
}
