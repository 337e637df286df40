import type { KeyView } from './key-view.js';

/**
 * What an engine may know about keys, as plain data that another thread can be sent: those that begin with
 * a byte of `namespaces` end with `suffixBytes` that tell versions of one thing apart. What is before the
 * suffix is the stem, and no stem begins with another: reads of the newest version ask for the first key of a
 * stem, so filters are about stems, and the suffixes of a table bound what it can hold.
 */
export interface VersionedKeys {
  readonly namespaces: readonly number[];
  readonly suffixBytes: number;
}

/** Cuts keys into stem and suffix. */
export class KeyShape {
  /** By the first byte of a key. */
  readonly #suffixBytes = new Uint8Array(256);

  constructor(versioned: VersionedKeys | undefined) {
    for (const namespace of versioned?.namespaces ?? []) {
      this.#suffixBytes[namespace] = versioned?.suffixBytes ?? 0;
    }
  }

  /** Bytes of the suffix of a key: 0 when its stem is the whole key. */
  suffixBytesOf(key: KeyView): number {
    if (key.length === 0) return 0;
    const suffixBytes = this.#suffixBytes[key.bytes[key.at] as number] as number;
    return key.length > suffixBytes ? suffixBytes : 0;
  }

  stemBytesOf(key: KeyView): number {
    return key.length - this.suffixBytesOf(key);
  }
}

/** 32 bits of the first `length` bytes of a key: FNV-1a, then mixed so that every bit depends on all. */
export function hashStem(key: KeyView, length: number): number {
  const { bytes } = key;
  let hash = 0x811c9dc5;
  for (let at = key.at, end = key.at + length; at < end; at += 1) {
    hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193);
  }
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
