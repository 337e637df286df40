import { keyBytesOf, ROW_HEADER_BYTES } from './row.js';

const NOTHING = new Uint8Array(0);
/** Up to here a loop copies faster than a call of the runtime does. */
const LOOP_BYTES_MAX = 64;

/**
 * A key where it lies: whoever walks over rows moves one view along instead of making a buffer per row. The
 * bytes belong to somebody else and may change when that somebody reads on.
 */
export class KeyView {
  bytes: Uint8Array = NOTHING;
  at = 0;
  length = 0;

  /** Looks at a whole array. */
  static of(key: Uint8Array): KeyView {
    const view = new KeyView();
    view.set(key, 0, key.length);
    return view;
  }

  set(bytes: Uint8Array, at: number, length: number): void {
    this.bytes = bytes;
    this.at = at;
    this.length = length;
  }

  /** Looks at the key of the packed row at `at`. */
  setToRow(bytes: Uint8Array, at: number): void {
    this.bytes = bytes;
    this.at = at + ROW_HEADER_BYTES;
    this.length = keyBytesOf(bytes, at);
  }

  /**
   * A copy of the key, in memory of its own: keys are sent to other threads, and a view takes all it is part
   * of.
   */
  copy(): Uint8Array {
    const copy = new Uint8Array(this.length);
    this.copyTo(copy, 0);
    return copy;
  }

  /** Copies the key to a place of another array; answers the place behind it. */
  copyTo(target: Uint8Array, targetAt: number): number {
    const { bytes, at, length } = this;
    if (length > LOOP_BYTES_MAX) target.set(bytes.subarray(at, at + length), targetAt);
    else
      for (let offset = 0; offset < length; offset += 1)
        target[targetAt + offset] = bytes[at + offset] as number;
    return targetAt + length;
  }
}

/** Below 0, 0 or above 0, as unsigned bytes compare; a key sorts before its extensions. */
export function compareKeys(one: KeyView, other: KeyView): number {
  const oneBytes = one.bytes;
  const otherBytes = other.bytes;
  const shared = one.length < other.length ? one.length : other.length;
  let at = one.at;
  let otherAt = other.at;
  for (const end = at + shared; at < end; at += 1, otherAt += 1) {
    const difference = (oneBytes[at] as number) - (otherBytes[otherAt] as number);
    if (difference !== 0) return difference;
  }
  return one.length - other.length;
}

/** Whether the key begins with the first `length` bytes of `prefix`. */
export function startsWith(key: KeyView, prefix: KeyView, length: number): boolean {
  if (key.length < length) return false;
  for (let offset = 0; offset < length; offset += 1) {
    if (key.bytes[key.at + offset] !== prefix.bytes[prefix.at + offset]) return false;
  }
  return true;
}

/** How many bytes both keys begin with. */
export function sharedBytesOf(one: KeyView, other: KeyView): number {
  const most = one.length < other.length ? one.length : other.length;
  let shared = 0;
  while (shared < most && one.bytes[one.at + shared] === other.bytes[other.at + shared]) shared += 1;
  return shared;
}
