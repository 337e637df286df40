import { assert } from '@cairn/base';

/*
 * B+tree with copy-on-write by ownership. Every node names its owner; the tree changes nodes of the
 * present owner in place and copies all others first. Taking a version costs a new owner token: whatever
 * is reachable from the old root then stays as it is. Without versions in use, writes touch one leaf in
 * place.
 *
 * Nodes split when full. A node is removed when it is empty but never merged with a neighbour: sparse
 * leaves cost some memory, which a memory engine can afford, and deletes stay simple.
 */

const LEAF_ENTRIES_MAX = 64;
const CHILDREN_MAX = 64;

/** Identity of whoever may change a node in place. */
interface Owner {
  readonly owner: true;
}

interface Leaf {
  readonly kind: 'leaf';
  readonly owner: Owner;
  readonly keys: string[];
  readonly values: Buffer[];
}

/** `keys[i]` is at most every key below `children[i]`; `keys[0]` is not looked at when descending. */
interface Branch {
  readonly kind: 'branch';
  readonly owner: Owner;
  readonly keys: string[];
  readonly children: TreeNode[];
}

type TreeNode = Leaf | Branch;

/** An unchanging state of a tree. */
export interface TreeVersion {
  readonly root: TreeNode;
}

/** First index whose key is >= `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as string) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Index of the child that covers `key`. */
function childIndex(keys: readonly string[], key: string): number {
  let low = 1;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as string) <= key) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Ordered map from Latin-1 strings, which order like their bytes, to buffers that it keeps. */
export class CowTree {
  #owner: Owner = { owner: true };
  #root: TreeNode;
  #size = 0;

  constructor(version?: TreeVersion, size = 0) {
    this.#root = version?.root ?? { kind: 'leaf', owner: this.#owner, keys: [], values: [] };
    this.#size = size;
  }

  get size(): number {
    return this.#size;
  }

  /** The state as of now; later changes do not touch it. */
  version(): TreeVersion {
    this.#owner = { owner: true };
    return { root: this.#root };
  }

  get(key: string): Buffer | undefined {
    let node = this.#root;
    while (node.kind === 'branch') node = node.children[childIndex(node.keys, key)] as TreeNode;
    const at = lowerBound(node.keys, key);
    return node.keys[at] === key ? node.values[at] : undefined;
  }

  /** Answers whether the key is new. */
  set(key: string, value: Buffer): boolean {
    const sizeBefore = this.#size;
    this.#root = this.#own(this.#root);
    const right = this.#setBelow(this.#root, key, value);
    if (right !== undefined) {
      const left = this.#root;
      this.#root = {
        kind: 'branch',
        owner: this.#owner,
        keys: [left.keys[0] as string, right.keys[0] as string],
        children: [left, right],
      };
    }
    return this.#size > sizeBefore;
  }

  /** Answers whether the key was there. */
  delete(key: string): boolean {
    if (this.get(key) === undefined) return false;
    this.#root = this.#own(this.#root);
    this.#deleteBelow(this.#root, key);
    while (this.#root.kind === 'branch' && this.#root.children.length === 1) {
      this.#root = this.#own(this.#root.children[0] as TreeNode);
    }
    this.#size -= 1;
    return true;
  }

  #own(node: TreeNode): TreeNode {
    if (node.owner === this.#owner) return node;
    if (node.kind === 'leaf') {
      return { kind: 'leaf', owner: this.#owner, keys: node.keys.slice(), values: node.values.slice() };
    }
    return { kind: 'branch', owner: this.#owner, keys: node.keys.slice(), children: node.children.slice() };
  }

  /** `node` is owned. Answers the right half if it had to be split. */
  #setBelow(node: TreeNode, key: string, value: Buffer): TreeNode | undefined {
    if (node.kind === 'leaf') {
      const at = lowerBound(node.keys, key);
      if (node.keys[at] === key) {
        node.values[at] = value;
        return undefined;
      }
      node.keys.splice(at, 0, key);
      node.values.splice(at, 0, value);
      this.#size += 1;
      return node.keys.length > LEAF_ENTRIES_MAX ? this.#splitLeaf(node) : undefined;
    }
    const at = childIndex(node.keys, key);
    const child = this.#own(node.children[at] as TreeNode);
    node.children[at] = child;
    const right = this.#setBelow(child, key, value);
    if (right === undefined) return undefined;
    node.keys.splice(at + 1, 0, right.keys[0] as string);
    node.children.splice(at + 1, 0, right);
    return node.children.length > CHILDREN_MAX ? this.#splitBranch(node) : undefined;
  }

  #splitLeaf(leaf: Leaf): Leaf {
    const half = leaf.keys.length >>> 1;
    return {
      kind: 'leaf',
      owner: this.#owner,
      keys: leaf.keys.splice(half),
      values: leaf.values.splice(half),
    };
  }

  #splitBranch(branch: Branch): Branch {
    const half = branch.keys.length >>> 1;
    return {
      kind: 'branch',
      owner: this.#owner,
      keys: branch.keys.splice(half),
      children: branch.children.splice(half),
    };
  }

  /** `node` is owned and holds the key. */
  #deleteBelow(node: TreeNode, key: string): void {
    if (node.kind === 'leaf') {
      const at = lowerBound(node.keys, key);
      assert(node.keys[at] === key, 'key to delete is gone');
      node.keys.splice(at, 1);
      node.values.splice(at, 1);
      return;
    }
    const at = childIndex(node.keys, key);
    const child = this.#own(node.children[at] as TreeNode);
    node.children[at] = child;
    this.#deleteBelow(child, key);
    if (child.keys.length === 0) {
      node.keys.splice(at, 1);
      node.children.splice(at, 1);
    }
  }
}

/** Walks one version of a tree in both directions. */
export class TreeCursor {
  readonly #root: TreeNode;
  #branches: Branch[] = [];
  #indexes: number[] = [];
  #leaf: Leaf | undefined = undefined;
  #at = 0;

  constructor(version: TreeVersion) {
    this.#root = version.root;
  }

  /** undefined when the cursor is before the first or behind the last entry. */
  get key(): string | undefined {
    return this.#leaf?.keys[this.#at];
  }

  get value(): Buffer | undefined {
    return this.#leaf?.values[this.#at];
  }

  /** To the first entry whose key is >= `key`. */
  seek(key: string): void {
    this.#descend(key);
    if (this.key === undefined) this.#step(1);
  }

  /** To the last entry whose key is <= `key`. */
  seekBackwards(key: string): void {
    this.#descend(key);
    if (this.key !== key) this.previous();
  }

  /** To nowhere. */
  end(): void {
    this.#leaf = undefined;
  }

  next(): void {
    this.#at += 1;
    if (this.key === undefined) this.#step(1);
  }

  previous(): void {
    this.#at -= 1;
    if (this.#at < 0) this.#step(-1);
  }

  #descend(key: string): void {
    this.#branches = [];
    this.#indexes = [];
    let node = this.#root;
    while (node.kind === 'branch') {
      const at = childIndex(node.keys, key);
      this.#branches.push(node);
      this.#indexes.push(at);
      node = node.children[at] as TreeNode;
    }
    this.#leaf = node;
    this.#at = lowerBound(node.keys, key);
  }

  /** To the nearest end of the neighbouring leaf. */
  #step(direction: 1 | -1): void {
    this.#leaf = undefined;
    let depth = this.#branches.length - 1;
    while (depth >= 0) {
      const at = (this.#indexes[depth] as number) + direction;
      const branch = this.#branches[depth] as Branch;
      if (at >= 0 && at < branch.children.length) break;
      depth -= 1;
    }
    if (depth < 0) return;
    this.#branches.length = depth + 1;
    this.#indexes.length = depth + 1;
    this.#indexes[depth] = (this.#indexes[depth] as number) + direction;
    let node = (this.#branches[depth] as Branch).children[this.#indexes[depth] as number] as TreeNode;
    while (node.kind === 'branch') {
      const at = direction === 1 ? 0 : node.children.length - 1;
      this.#branches.push(node);
      this.#indexes.push(at);
      node = node.children[at] as TreeNode;
    }
    this.#leaf = node;
    this.#at = direction === 1 ? 0 : node.keys.length - 1;
  }
}
