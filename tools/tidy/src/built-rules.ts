/** What a build leaves behind. */

/**
 * Compiled files, given by their paths from the root, of which no source is in the tree: an import that
 * should fail finds them, and a package carries them along.
 */
export function builtOfNothing(built: readonly string[], paths: readonly string[]): string[] {
  const sources = new Set(paths);
  return built
    .filter((path) => !sources.has(path.replace('/dist/', '/src/').replace(/\.js$/, '.ts')))
    .map((path) => `${path}: has no source; npm run build removes it`);
}
