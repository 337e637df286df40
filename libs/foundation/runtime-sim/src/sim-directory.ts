import type { SimFileContent } from './sim-file.js';
import type { SimRng } from './sim-rng.js';

export type NameChange =
  | { readonly type: 'link'; readonly path: string; readonly content: SimFileContent }
  | { readonly type: 'unlink'; readonly path: string }
  | {
      readonly type: 'rename';
      readonly from: string;
      readonly to: string;
      readonly content: SimFileContent;
    };

export function parentOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash <= 0 ? '/' : path.slice(0, slash);
}

function apply(names: Map<string, SimFileContent>, change: NameChange): void {
  switch (change.type) {
    case 'link':
      names.set(change.path, change.content);
      return;
    case 'unlink':
      names.delete(change.path);
      return;
    case 'rename':
      names.delete(change.from);
      names.set(change.to, change.content);
      return;
  }
}

/**
 * The names of the files: what is visible, what is durable, and the changes that no directory sync covered.
 */
export class SimNames {
  readonly #durable = new Map<string, SimFileContent>();
  readonly #visible = new Map<string, SimFileContent>();
  readonly #unsynced: NameChange[] = [];

  get(path: string): SimFileContent | undefined {
    return this.#visible.get(path);
  }

  entries(): IterableIterator<[string, SimFileContent]> {
    return this.#visible.entries();
  }

  /** Names directly in a directory, sorted. */
  list(directory: string): string[] {
    const prefix = directory === '/' ? '/' : `${directory}/`;
    const names: string[] = [];
    for (const path of this.#visible.keys()) {
      if (path.startsWith(prefix) && !path.slice(prefix.length).includes('/'))
        names.push(path.slice(prefix.length));
    }
    return names.sort();
  }

  change(change: NameChange): void {
    apply(this.#visible, change);
    this.#unsynced.push(change);
  }

  sync(directory: string): void {
    const rest: NameChange[] = [];
    for (const change of this.#unsynced) {
      if (parentOf(change.type === 'rename' ? change.to : change.path) === directory)
        apply(this.#durable, change);
      else rest.push(change);
    }
    this.#unsynced.splice(0, this.#unsynced.length, ...rest);
  }

  /** Power loss: each change that no directory sync covered is kept or lost, independently of the others. */
  crash(rng: SimRng): void {
    for (const change of this.#unsynced.splice(0)) {
      if (rng.chance(0.5)) apply(this.#durable, change);
    }
    this.#visible.clear();
    for (const [path, content] of this.#durable) this.#visible.set(path, content);
  }
}
