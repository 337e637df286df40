import { CairnError } from '@cairn/base';
import { compareKeys, invalidField } from '@cairn/routing';

import { mapKey } from './keys.js';
import type { TransactionWrite } from './types.js';

/** Bytes that a write takes besides its key and value. */
const OVERHEAD_BYTES = 64;
export const SAVEPOINTS_MAX = 1_000;

/** What was there before a write, while there are savepoints to go back to. */
interface Undo {
  readonly name: string;
  readonly before: TransactionWrite | undefined;
}

interface Savepoint {
  readonly name: string;
  /** Undos that are older than it. */
  readonly undos: number;
}

/**
 * What an open transaction has written so far: the last write of each key, and what it takes to go back to
 * its savepoints. `bytes` counts all of it.
 */
export class WriteSet {
  readonly #writes = new Map<string, TransactionWrite>();
  readonly #undos: Undo[] = [];
  readonly #savepoints: Savepoint[] = [];
  #bytes = 0;

  get size(): number {
    return this.#writes.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Each key once, in the order in which keys were written first. */
  list(): readonly TransactionWrite[] {
    return [...this.#writes.values()];
  }

  get(key: Uint8Array): TransactionWrite | undefined {
    return this.#writes.get(mapKey(key));
  }

  /** How many bytes more there are after this write. */
  growthBy(write: TransactionWrite): number {
    const before = this.get(write.key);
    // What is overwritten stays as long as a savepoint may bring it back.
    return bytesOf(write) - (before === undefined || this.#savepoints.length > 0 ? 0 : bytesOf(before));
  }

  put(write: TransactionWrite): void {
    this.#bytes += this.growthBy(write);
    const name = mapKey(write.key);
    if (this.#savepoints.length > 0) this.#undos.push({ name, before: this.#writes.get(name) });
    this.#writes.set(name, write);
  }

  /** Those with keys in [start, end), in order; an empty end = all from `start` on. */
  within(start: Uint8Array, end: Uint8Array): TransactionWrite[] {
    return this.list()
      .filter(({ key }) => compareKeys(key, start) >= 0 && (end.length === 0 || compareKeys(key, end) < 0))
      .sort((a, b) => compareKeys(a.key, b.key));
  }

  savepoint(name: string): void {
    const at = this.#savepoints.findIndex((each) => each.name === name);
    if (at < 0 && this.#savepoints.length >= SAVEPOINTS_MAX) {
      throw new CairnError('RESOURCE_EXHAUSTED', `a transaction has at most ${SAVEPOINTS_MAX} savepoints`);
    }
    if (at >= 0) this.#savepoints.splice(at, 1);
    else this.#bytes += savepointBytes(name);
    this.#savepoints.push({ name, undos: this.#undos.length });
    this.#forgetUndos();
  }

  /** How many bytes more there are after this savepoint. */
  growthBySavepoint(name: string): number {
    return this.#savepoints.some((each) => each.name === name) ? 0 : savepointBytes(name);
  }

  /** Throws INVALID_ARGUMENT when there is no such savepoint. */
  rollbackTo(name: string): void {
    const at = this.#find(name);
    const { undos } = this.#savepoints[at] as Savepoint;
    for (let undo = this.#undos[this.#undos.length - 1]; this.#undos.length > undos && undo !== undefined;) {
      this.#undos.pop();
      const written = this.#writes.get(undo.name);
      if (written !== undefined) this.#bytes -= bytesOf(written);
      if (undo.before === undefined) this.#writes.delete(undo.name);
      else this.#writes.set(undo.name, undo.before);
      undo = this.#undos[this.#undos.length - 1];
    }
    this.#dropSavepoints(at + 1);
  }

  /** Throws INVALID_ARGUMENT when there is no such savepoint. */
  release(name: string): void {
    this.#dropSavepoints(this.#find(name));
    this.#forgetUndos();
  }

  #dropSavepoints(from: number): void {
    for (const { name } of this.#savepoints.splice(from)) this.#bytes -= savepointBytes(name);
  }

  /** Of what was written before the oldest savepoint nothing is brought back. */
  #forgetUndos(): void {
    const unneeded = this.#savepoints[0]?.undos ?? this.#undos.length;
    if (unneeded === 0) return;
    for (const { before } of this.#undos.splice(0, unneeded))
      if (before !== undefined) this.#bytes -= bytesOf(before);
    for (const [at, { name, undos }] of this.#savepoints.entries())
      this.#savepoints[at] = { name, undos: undos - unneeded };
  }

  #find(name: string): number {
    const at = this.#savepoints.findIndex((each) => each.name === name);
    if (at >= 0) return at;
    throw invalidField('name', `the transaction has no savepoint "${name}"`);
  }
}

function savepointBytes(name: string): number {
  return OVERHEAD_BYTES + Buffer.byteLength(name);
}

function bytesOf(write: TransactionWrite): number {
  return OVERHEAD_BYTES + write.key.length + (write.type === 'put' ? write.value.length : 0);
}
