/** Installs what the lock file says, when it is not there. */
import { createHash } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { INSTALL_STAMP, MODULES, readText, ROOT } from './places.mjs';
import { runQuietly } from './processes.mjs';
import { fail, say } from './say.mjs';

/** npm as a program and its first arguments: the npm that runs this script, else the one on the path. */
function npmCommand() {
  const script = process.env.npm_execpath;
  return script !== undefined && /npm-cli\.c?js$/.test(script) ? [process.execPath, script] : ['npm'];
}

export function sha256(parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex');
}

/**
 * True when npm's own record of what it installed agrees with the lock file: a tree that somebody installed
 * by hand is not thrown away. Packages for other platforms are in the lock and not in the tree; those are
 * optional.
 */
function treeMatchesLock() {
  const recordText = readText(join(MODULES, '.package-lock.json'));
  if (recordText === '') return false;
  const installed = JSON.parse(recordText).packages;
  const locked = JSON.parse(readText(join(ROOT, 'package-lock.json'))).packages;
  return Object.entries(locked).every(([path, wanted]) => {
    if (!path.startsWith('node_modules/') || wanted.optional || wanted.devOptional) return true;
    return wanted.link ? existsSync(join(ROOT, path)) : installed[path]?.version === wanted.version;
  });
}

/**
 * `npm ci` refuses a lock that lists optional packages only of the platform it was made on; `npm install`
 * takes such a lock with the same versions, but would rewrite the file, so that is undone.
 */
async function installLocked(lock) {
  const [command, ...before] = npmCommand();
  const quiet = ['--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error'];
  const strict = await runQuietly(command, [...before, 'ci', ...quiet], 'installing');
  if (strict.code === 0 || !/Missing: .* from lock file/.test(strict.output)) return strict;
  const lenient = await runQuietly(command, [...before, 'install', '--no-save', ...quiet], 'installing');
  writeFileSync(join(ROOT, 'package-lock.json'), lock);
  return lenient;
}

export async function ensureInstalled() {
  const lock = readText(join(ROOT, 'package-lock.json'));
  if (lock === '')
    fail(`package-lock.json is missing in ${ROOT}; restore it with: git checkout package-lock.json`);
  const wanted = sha256([lock, process.platform, process.arch]);
  if (readText(INSTALL_STAMP) === wanted) return;
  if (!treeMatchesLock()) {
    const first = !existsSync(MODULES);
    say(
      first
        ? 'Installing packages (the first time only, about a minute) …'
        : 'Packages changed; installing …',
    );
    const { code, output, seconds } = await installLocked(lock);
    if (code !== 0) {
      fail(
        `${output}\nInstalling packages failed (exit code ${code}). If a package could not be fetched, check ` +
          `the network and run the command again.`,
      );
    }
    say(`Installed in ${seconds.toFixed(0)} s.`);
  }
  writeFileSync(INSTALL_STAMP, wanted);
}
