import type { DirectoryLock, LockFiles, LockWorld } from './directory-lock.js';

/** A file is a text, a directory a map. */
type Node = string | Map<string, Node>;

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/** Numbers from a seed, 0 ≤ x < 1 (mulberry32): schedules must be the same on every machine. */
function numbersOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What POSIX says of the calls that a lock makes, on a tree in memory; each call is one step. */
class PosixTree {
  readonly root = new Map<string, Node>([['data', new Map<string, Node>()]]);

  mkdir(path: string): void {
    const [parent, name] = this.#placeOf(path);
    if (parent.has(name)) throw failure('EEXIST');
    parent.set(name, new Map());
  }

  writeFile(path: string, text: string): void {
    const [parent, name] = this.#placeOf(path);
    if (parent.get(name) instanceof Map) throw failure('EISDIR');
    parent.set(name, text);
  }

  rename(from: string, to: string): void {
    const [fromParent, fromName] = this.#placeOf(from);
    const [toParent, toName] = this.#placeOf(to);
    const moved = fromParent.get(fromName);
    if (moved === undefined) throw failure('ENOENT');
    const there = toParent.get(toName);
    if (there !== undefined && moved instanceof Map) {
      if (!(there instanceof Map)) throw failure('ENOTDIR');
      if (there.size > 0) throw failure('ENOTEMPTY');
    }
    fromParent.delete(fromName);
    toParent.set(toName, moved);
  }

  open(path: string): Map<string, Node> {
    const [parent, name] = this.#placeOf(path);
    const found = parent.get(name);
    if (found === undefined) throw failure('ENOENT');
    if (!(found instanceof Map)) throw failure('ENOTDIR');
    return found;
  }

  unlink(path: string): void {
    const [parent, name] = this.#placeOf(path);
    const found = parent.get(name);
    if (found === undefined) throw failure('ENOENT');
    if (found instanceof Map) throw failure('EISDIR');
    parent.delete(name);
  }

  rmdir(path: string): void {
    const found = this.open(path);
    if (found.size > 0) throw failure('ENOTEMPTY');
    const [parent, name] = this.#placeOf(path);
    parent.delete(name);
  }

  #placeOf(path: string): [Map<string, Node>, string] {
    const names = path.split('/').filter((name) => name !== '');
    const last = names.pop() ?? '';
    let at = this.root;
    for (const name of names) {
      const next = at.get(name);
      if (next === undefined) throw failure('ENOENT');
      if (!(next instanceof Map)) throw failure('ENOTDIR');
      at = next;
    }
    return [at, last];
  }
}

/** A process waits before each step for its turn; one that was killed never has another. */
class Contender {
  isAlive = true;
  holds: DirectoryLock | undefined;
  step: (() => void) | undefined;

  turn(): Promise<void> {
    return new Promise((resolve) => {
      this.step = resolve;
    });
  }
}

/** What came of one schedule. */
export interface Contention {
  /** Pairs of contenders that held the lock at the same time: must be none. */
  readonly together: readonly (readonly [number, number])[];
  readonly held: number;
  readonly killed: number;
  /** In the directory, after one more process locked it and released it. */
  readonly leftBehind: readonly string[];
}

export type Locker = (directory: string, world: LockWorld) => Promise<DirectoryLock>;

const CONTENDERS = 4;
const ROUNDS_MAX = 4;
const KILL_SHARE = 0.02;
/** More than any schedule of four contenders needs. */
const STEPS_MAX = 10_000;

/** Four processes lock, hold and release one directory in the order that the seed says; some are killed. */
export async function contend(seed: number, lock: Locker): Promise<Contention> {
  const next = numbersOf(seed);
  const tree = new PosixTree();
  const contenders = Array.from({ length: CONTENDERS }, () => new Contender());
  const together: [number, number][] = [];
  let [held, killed, attempts] = [0, 0, 0];

  const worldOf = (at: number, turn: () => Promise<void>): LockWorld => ({
    files: filesOf(tree, turn, next),
    newEntry: () => `${at + 1}.1.${(attempts += 1).toString(16).padStart(8, '0')}`,
    forgetEntry: () => undefined,
    isOwnerAlive: (entry) => contenders[Number(entry.split('.')[0]) - 1]?.isAlive === true,
  });
  const live = async (at: number, contender: Contender): Promise<void> => {
    const world = worldOf(at, () => contender.turn());
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      try {
        contender.holds = await lock('/data', world);
      } catch (error) {
        if ((error as { code?: string }).code !== 'FAILED_PRECONDITION') throw error;
        continue;
      }
      held += 1;
      for (const [other, { holds, isAlive }] of contenders.entries())
        if (other !== at && isAlive && holds !== undefined) together.push([at, other]);
      await contender.turn();
      const { holds } = contender;
      // It stops using the directory first.
      contender.holds = undefined;
      await holds.release();
    }
  };
  const lives = contenders.map((contender, at) => live(at, contender));
  const over = new Set<Contender>();
  for (const [at, life] of lives.entries()) void life.then(() => over.add(contenders[at] as Contender));
  for (let step = 0; step < STEPS_MAX; step += 1) {
    await settled();
    const ready = contenders.filter((each) => each.isAlive && !over.has(each));
    if (ready.length === 0) break;
    const chosen = ready[Math.floor(next() * ready.length)] as Contender;
    if (next() < KILL_SHARE) {
      chosen.isAlive = false;
      killed += 1;
    } else chosen.step?.();
  }
  for (const contender of contenders) contender.isAlive = false;
  const last = await lock(
    '/data',
    worldOf(CONTENDERS, () => Promise.resolve()),
  );
  await last.release();
  await Promise.all(lives.filter((_, at) => over.has(contenders[at] as Contender)));
  return { together, held, killed, leftBehind: [...tree.open('/data').keys()] };
}

/** Lets whoever had his turn run on until he waits for the next one. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

function filesOf(tree: PosixTree, turn: () => Promise<void>, next: () => number): LockFiles {
  const step = async <Value>(work: () => Value): Promise<Value> => {
    await turn();
    return work();
  };
  return {
    mkdir: (path) => step(() => tree.mkdir(path)),
    writeFile: (path, text) => step(() => tree.writeFile(path, text)),
    rename: (from, to) => step(() => tree.rename(from, to)),
    unlink: (path) => step(() => tree.unlink(path)),
    rmdir: (path) => step(() => tree.rmdir(path)),
    readdir: async (path) => {
      const opened = await step(() => tree.open(path));
      const before = new Set(opened.keys());
      // POSIX leaves open whether an entry shows that comes or goes while a directory is being read.
      return step(() =>
        [...new Set([...before, ...opened.keys()])].filter(
          (name) => (before.has(name) && opened.has(name)) || next() < 0.5,
        ),
      );
    },
  };
}

/**
 * A lock that lets two in: the schedules have to find it. A dead one is moved aside, and a living one put
 * back.
 */
export async function lockThatPutsBack(directory: string, world: LockWorld): Promise<DirectoryLock> {
  const { files } = world;
  const path = `${directory}/LOCK`;
  const entry = world.newEntry();
  const own = `${path}.${entry}`;
  await files.mkdir(own);
  await files.writeFile(`${own}/${entry}`, '');
  for (;;) {
    if (await isTaken(files.rename(own, path))) {
      return {
        release: async () => {
          await isTaken(files.unlink(`${path}/${entry}`));
          await isTaken(files.rmdir(path));
        },
      };
    }
    if (await isHeld(path, world)) throw failure('FAILED_PRECONDITION');
    const aside = `${own}.stale`;
    if (!(await isTaken(files.rename(path, aside)))) continue;
    if (!(await isHeld(aside, world))) {
      for (const name of await files.readdir(aside)) await isTaken(files.unlink(`${aside}/${name}`));
    } else await isTaken(files.rename(aside, path));
  }
}

async function isHeld(path: string, world: LockWorld): Promise<boolean> {
  const names = await world.files.readdir(path).catch(() => []);
  return names.some((name) => world.isOwnerAlive(name));
}

function isTaken(step: Promise<unknown>): Promise<boolean> {
  return step.then(
    () => true,
    () => false,
  );
}
