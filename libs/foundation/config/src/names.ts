/** Prefix of every environment variable the product reads. */
export const ENVIRONMENT_PREFIX = 'CAIRN_';

/** `blockCacheBytes` → `--block-cache-bytes`. */
export function flagName(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** `blockCacheBytes` → `CAIRN_BLOCK_CACHE_BYTES`. */
export function environmentName(key: string): string {
  return ENVIRONMENT_PREFIX + key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}
