import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CairnError } from '@cairn/base';
import type { Children } from './children.js';
import { runToEnd } from './child-output.js';

const MARK = '.cairn-reference';
/** Installing packages and compiling everything, on a slow machine. */
const BUILD_MS_MAX = 20 * 60_000;

/** The reference is not in this checkout. */
export class NoReferenceError extends Error {}

/**
 * The full name of a commit.
 *
 * @throws NoReferenceError with a sentence that says what to do.
 */
export function findCommit(root: string, name: string): string {
  const found = spawnSync('git', ['-C', root, 'rev-parse', '--verify', '--quiet', `${name}^{commit}`], {
    encoding: 'utf8',
  });
  // A full name is taken for granted, whether or not the commit is there.
  const hash = found.stdout?.trim() ?? '';
  const isThere =
    found.status === 0 && spawnSync('git', ['-C', root, 'cat-file', '-e', `${hash}^{commit}`]).status === 0;
  if (isThere) return hash;
  throw new NoReferenceError(
    `The commit ${name} is not in this checkout: an archive has no history, and a shallow clone has only the ` +
      'newest commits. Get it with "git fetch --unshallow", or name another one with --commit.',
  );
}

/** What npm tells its scripts about itself must not reach the scripts of the reference. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const isForeign = (name: string): boolean => /^(npm_(lifecycle|package)_|CAIRN_|NODE_OPTIONS$)/.test(name);
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !isForeign(name)));
}

function mustSucceed(command: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status === 0) return;
  throw new CairnError('FAILED_PRECONDITION', `${command} ${args[0]} failed: ${(stderr ?? '').trim()}`);
}

/** Puts the files of a commit into a directory that is empty, or has them already. */
function unpack(root: string, hash: string, directory: string): void {
  const mark = join(directory, MARK);
  if (existsSync(mark)) {
    const other = readFileSync(mark, 'utf8').trim();
    if (other === hash) return;
    throw new CairnError(
      'FAILED_PRECONDITION',
      `${directory} holds the reference ${other}, not ${hash}. Remove it, or name another with --reference-dir.`,
    );
  }
  mkdirSync(directory, { recursive: true });
  const archive = join(directory, 'reference.tar');
  mustSucceed('git', ['-C', root, 'archive', '--format=tar', '-o', archive, hash]);
  mustSucceed('tar', ['-xf', archive, '-C', directory]);
  rmSync(archive);
  writeFileSync(mark, `${hash}\n`);
}

/**
 * Makes a build of a commit in a directory by the commit's own script, which installs the packages that it
 * had. A directory that has that build already is taken as it is.
 *
 * @throws CairnError with what failed.
 */
export async function buildReference(
  children: Children,
  root: string,
  hash: string,
  directory: string,
): Promise<void> {
  unpack(root, hash, directory);
  const script = join(directory, 'tools/bootstrap.mjs');
  await runToEnd(children, [script, 'build'], { env: cleanEnvironment(), limitMs: BUILD_MS_MAX });
}
