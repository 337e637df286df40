import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { branchesOf, type Branch } from './branches.js';
import { readProfiles, type ScriptProfile } from './profile.js';

const INLINE_MAP = /\/\/# sourceMappingURL=data:application\/json[^,]*;base64,([A-Za-z0-9+/=]+)\s*$/;

const GROUP_RUNS_PER_SEED = 20;

interface Unreached {
  readonly file: string;
  readonly line: number;
  readonly what: Branch['what'];
  readonly text: string;
}

interface Tally {
  total: number;
  readonly unreached: Unreached[];
}

function ran(profiles: readonly ScriptProfile[], offset: number): number {
  return profiles.reduce((sum, profile) => sum + profile.countAt(offset), 0);
}

function isTaken(branch: Branch, profiles: readonly ScriptProfile[]): boolean {
  const count = ran(profiles, branch.takenAt);
  return branch.isComplement ? ran(profiles, branch.decidedAt) > count : count > 0;
}

function positionOf(text: string, offset: number): { readonly line: number; readonly column: number } {
  const before = text.slice(0, offset);
  return { line: before.split('\n').length - 1, column: offset - before.lastIndexOf('\n') - 1 };
}

/**
 * The branches of one built script, by what the profiles say; only the outermost of what never ran is told.
 */
function tallyScript(path: string, profiles: readonly ScriptProfile[], tally: Tally): void {
  const text = readFileSync(path, 'utf8');
  const encoded = INLINE_MAP.exec(text)?.[1];
  if (encoded === undefined) throw new Error(`${path} has no source map: build first`);
  const payload = JSON.parse(Buffer.from(encoded, 'base64').toString('utf8')) as SourceMap['payload'];
  const map = new SourceMap(payload);
  const source = join(dirname(path), '..', 'src', basename(path).replace(/\.js$/, '.ts'));
  const lines = readFileSync(source, 'utf8').split('\n');
  for (const branch of branchesOf(text)) {
    tally.total += 1;
    if (isTaken(branch, profiles)) continue;
    // Inside of something that never ran, or never even loaded: that is told already.
    if (branch.decidedAt > 0 && profiles.length > 0 && ran(profiles, branch.decidedAt) === 0) continue;
    const { line, column } = positionOf(text, branch.isComplement ? branch.decidedAt : branch.takenAt);
    const entry = map.findEntry(line, column);
    const at = 'originalLine' in entry ? entry.originalLine : 0;
    tally.unreached.push({
      file: relative(process.cwd(), source),
      line: at + 1,
      what: branch.what,
      text: (lines[at] ?? '').trim(),
    });
  }
}

/** Runs the simulator in a process that leaves its profile in `folder`; answers its exit code. */
function runProfiled(argv: readonly string[], folder: string): number {
  const program = fileURLToPath(new URL('../main.js', import.meta.url));
  const child = spawnSync(process.execPath, [program, ...argv], {
    env: { ...process.env, NODE_V8_COVERAGE: folder },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return child.status ?? 2;
}

/** Runs of one group are much cheaper than those of a cluster: each seed stands for many of them. */
function groupSeeds(argv: readonly string[]): [number, number] {
  const match = /^(\d+)(?:\.\.(\d+))?$/.exec(argv[argv.indexOf('--seeds') + 1] ?? '') ?? [];
  const from = Number(match[1] ?? 1);
  const to = Number(match[2] ?? match[1] ?? 20);
  return [from * GROUP_RUNS_PER_SEED, (to + 1) * GROUP_RUNS_PER_SEED - 1];
}

/**
 * The command `--coverage --seeds A..B`: runs the seeds, and runs of one group of the core alone, in
 * processes of their own, and lists every branch of the consensus core that none of them took. The exit code
 * is that of the seeds.
 */
export function coverageMain(argv: readonly string[]): number {
  const folder = mkdtempSync(join(tmpdir(), 'cairn-coverage-'));
  try {
    const seeds = argv.filter((word) => word !== '--coverage');
    const [from, to] = groupSeeds(argv);
    const status = Math.max(
      runProfiled(seeds, folder),
      runProfiled(['--group-seeds', String(from), String(to)], folder),
    );
    const profiles = readProfiles(folder);
    const core = dirname(fileURLToPath(import.meta.resolve('@cairn/raft')));
    const tally: Tally = { total: 0, unreached: [] };
    for (const name of readdirSync(core).sort()) {
      if (!name.endsWith('.js')) continue;
      const path = join(core, name);
      tallyScript(path, profiles.get(pathToFileURL(path).href) ?? [], tally);
    }
    for (const { file, line, what, text } of tally.unreached) {
      process.stdout.write(`${file}:${line}: ${what}: ${text}\n`);
    }
    const counts = `${tally.unreached.length} of ${tally.total}`;
    process.stdout.write(`${counts} branches of libs/consensus/raft not reached\n`);
    return status;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
