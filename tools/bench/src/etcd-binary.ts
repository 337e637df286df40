import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { CairnError } from '@cairn/base';

export interface EtcdBinary {
  readonly path: string;
  /** As in `3.5.16`. */
  readonly version: string;
}

const HOW_TO_GET =
  'Install etcd 3.5 or later (a package of your system, often called etcd-server, or a release from ' +
  'https://github.com/etcd-io/etcd/releases) so that it is on the PATH, or name the program with --etcd.';

/** The version in the output of `etcd --version`; undefined when there is none. */
export function parseEtcdVersion(output: string): string | undefined {
  return /^etcd Version: (\d+\.\d+\.\d+\S*)/m.exec(output)?.[1];
}

function numbersOf(version: string): readonly [number, number, number] {
  const [major = 0, minor = 0, patch = 0] = version.split(/[.+-]/).map(Number);
  return [major, minor, patch];
}

/** Below 0: `a` is older than `b`. */
export function compareVersions(a: string, b: string): number {
  const [majorA, minorA, patchA] = numbersOf(a);
  const [majorB, minorB, patchB] = numbersOf(b);
  return majorA - majorB || minorA - minorB || patchA - patchB;
}

/** True for versions whose reads are known to be slow after bursts of writes. */
export function isOldEtcd(version: string): boolean {
  return compareVersions(version, '3.5.0') < 0;
}

function examine(path: string): EtcdBinary | undefined {
  const { stdout, error } = spawnSync(path, ['--version'], { encoding: 'utf8', timeout: 10_000 });
  const version = error === undefined ? parseEtcdVersion(stdout) : undefined;
  return version === undefined ? undefined : { path, version };
}

/**
 * The etcd to measure: the named one, else the newest on the path.
 *
 * @throws CairnError `FAILED_PRECONDITION` with a sentence that says how to get one.
 */
export function findEtcd(named: string, searchPath: string): EtcdBinary {
  if (named !== '') {
    const found = examine(named);
    if (found !== undefined) return found;
    throw new CairnError(
      'FAILED_PRECONDITION',
      `${named}, given with --etcd, is not an etcd that can be run. ${HOW_TO_GET}`,
    );
  }
  const found = searchPath
    .split(delimiter)
    .filter((directory) => directory !== '')
    .map((directory) => join(directory, 'etcd'))
    .filter((path) => existsSync(path))
    .map(examine)
    .filter((each) => each !== undefined)
    .sort((a, b) => compareVersions(b.version, a.version));
  const [newest] = found;
  if (newest !== undefined) return newest;
  throw new CairnError('FAILED_PRECONDITION', `There is no etcd on the PATH. ${HOW_TO_GET}`);
}
