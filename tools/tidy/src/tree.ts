import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, posix, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Root of the checkout. */
export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');

/** One file of the tree, with a path relative to the root. */
export interface TreeFile {
  readonly path: string;
  readonly text: string;
}

const GENERATED =
  /^libs\/foundation\/wire\/src\/gen\/|^package-lock\.json$|^docs\/(api|configuration)\.md$|^LICENSE$/;
const TEXT = /\.(ts|mjs|md|json|yaml|yml|proto|prettierrc)$|^\.ci\//;

/** Every file that git tracks or would track. */
export function readPaths(): string[] {
  const listing = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: ROOT,
  });
  return [...new Set(listing.toString('utf8').split('\n'))].filter((path) => path !== '').sort();
}

/** Text files that git tracks or would track, without generated ones. */
export function readTree(): TreeFile[] {
  return readFiles(readPaths().filter((path) => TEXT.test(path) && !GENERATED.test(path)));
}

/** Every compiled file that lies here; none where nothing was built. */
export function readBuilt(): string[] {
  return globSync('{libs/*,apps,tools}/*/dist/**/*.js', { cwd: ROOT });
}

/** Documents, generated ones included. */
export function readDocuments(): TreeFile[] {
  return readFiles(readPaths().filter((path) => path.endsWith('.md')));
}

function readFiles(paths: readonly string[]): TreeFile[] {
  const files: TreeFile[] = [];
  for (const path of paths) {
    try {
      files.push({ path, text: readFileSync(join(ROOT, path), 'utf8') });
    } catch (error) {
      // Deleted in the working tree and not yet in the index: nothing to check.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return files;
}

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\b[^'";]*?\bfrom\s*['"]([^'"]+)['"]|\bimport\s*\(?\s*['"]([^'"]+)['"]/g;

const TYPE_ONLY = /(?:^|\n)\s*(?:import|export)\s+type\b[^'";]*?\bfrom\s*['"][^'"]+['"]/g;

/** Module names that a source file imports or re-exports, statically or dynamically. */
export function importsOf(text: string): string[] {
  const withoutComments = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  return [...withoutComments.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? '');
}

/** The same without `import type` and `export type`, which leave nothing behind at run time. */
export function valueImportsOf(text: string): string[] {
  return importsOf(text.replace(TYPE_ONLY, ''));
}

/** The file that a relative import of a TypeScript file means. */
export function resolveRelative(from: string, specifier: string): string {
  return posix.join(posix.dirname(from), specifier).replace(/\.js$/, '.ts');
}
