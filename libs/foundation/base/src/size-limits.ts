/**
 * The longest key and value that any setting allows, in bytes: of the whole cluster, and of a router before
 * it has heard those. Records, frames and messages are sized for them.
 */
export const KEY_BYTES_LIMIT_MAX = 32 * 1024;
export const VALUE_BYTES_LIMIT_MAX = 8 * 1024 * 1024;

/** No setting can be so low that this is refused. */
export const KEY_BYTES_LIMIT_MIN = 64;
export const VALUE_BYTES_LIMIT_MIN = 1024;
