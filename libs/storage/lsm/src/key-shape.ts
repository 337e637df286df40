import type { VersionedKeys } from '@cairn/engine';

import type { KeyView } from './key-view.js';

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
