/** A key as a property of maps. */
export function mapKey(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}

/** The keys without repetitions, in the order in which they come first. */
export function distinctKeys(keys: readonly Uint8Array[]): readonly Uint8Array[] {
  if (keys.length < 2) return keys;
  return [...new Map(keys.map((key) => [mapKey(key), key])).values()];
}
