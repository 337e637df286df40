/** Compiles what changed. */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { sha256 } from './install.mjs';
import { BIN, BUILD_STAMP, INSTALL_STAMP, MODULES, readText, ROOT } from './places.mjs';
import { binCommand, run, runQuietly } from './processes.mjs';
import { fail, say } from './say.mjs';

function filesUnder(directory, found) {
  for (const entry of readdirSync(directory, { withFileTypes: true }).sort((a, b) =>
    a.name < b.name ? -1 : 1,
  )) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) filesUnder(path, found);
    else found.push(path);
  }
  return found;
}

/** Folders of the projects that are compiled: those with sources. */
function projects() {
  const foldersIn = (folder) =>
    readdirSync(join(ROOT, folder), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => join(folder, name));
  return [...foldersIn('libs'), 'apps', 'tools']
    .flatMap(foldersIn)
    .map((folder) => join(ROOT, folder))
    .filter((project) => existsSync(join(project, 'package.json')) && existsSync(join(project, 'src')));
}

/** One hash over everything that the compiled programs are made of: 30 ms, where asking nx takes seconds. */
function sourceHash(all) {
  const parts = [readText(join(ROOT, '.swcrc')), readText(join(ROOT, 'nx.json')), readText(INSTALL_STAMP)];
  for (const project of all) {
    const files = [join(project, 'package.json'), ...filesUnder(join(project, 'src'), [])];
    for (const file of files.filter((each) => !each.endsWith('.spec.ts')))
      parts.push(file, readFileSync(file));
  }
  return sha256(parts);
}

/**
 * `npx cairn` finds its program here. Linked by hand, because npm links only what exists when it installs.
 */
function linkCli() {
  const program = join(ROOT, 'apps/cli/dist/main.js');
  const link = join(BIN, 'cairn');
  if (!existsSync(program)) return;
  chmodSync(program, 0o755);
  rmSync(link, { force: true });
  symlinkSync('../../apps/cli/dist/main.js', link);
}

export async function ensureBuilt() {
  const all = projects();
  const wanted = sourceHash(all);
  if (readText(BUILD_STAMP) === wanted && all.every((project) => existsSync(join(project, 'dist')))) return;
  say('Building …');
  const args = [
    'run-many',
    '-t',
    'build',
    '--outputStyle=static',
    `--parallel=${Math.min(availableParallelism(), 4)}`,
  ];
  const { code, output, seconds } = await runQuietly(join(BIN, 'nx'), args, 'building');
  if (code !== 0) fail(`${output}\nThe build failed; the messages above say where.`);
  linkCli();
  mkdirSync(dirname(BUILD_STAMP), { recursive: true });
  writeFileSync(BUILD_STAMP, wanted);
  say(`Built in ${seconds.toFixed(0)} s.`);
}

/**
 * Declarations of the client, and of what its types name, beside their compiled code: for a project in
 * TypeScript that links the client. Gone with the next build.
 */
export async function types() {
  const made = join(MODULES, '.cairn-types');
  rmSync(made, { recursive: true, force: true });
  const code = await run(...binCommand('tsc', ['-p', join(ROOT, 'libs/doors/client/tsconfig.types.json')]));
  if (code !== 0) return code;
  for (const room of readdirSync(made)) {
    for (const name of readdirSync(join(made, room))) {
      cpSync(join(made, room, name, 'src'), join(ROOT, 'libs', room, name, 'dist'), { recursive: true });
    }
  }
  return 0;
}
