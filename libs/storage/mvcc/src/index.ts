export * from './command-outcome.js';
export * from './garbage.js';
export {
  decodeLockRow,
  encodeLockRow,
  lockKeyOf,
  lockRecordLength,
  LockRowOp,
  userKeyOfLockKey,
  type LockRow,
} from './lock-row.js';
export * from './member-key.js';
export * from './namespace.js';
export * from './record.js';
export * from './request-window.js';
export * from './row-cache.js';
export * from './transaction-row.js';
export * from './user-key.js';
export * from './version-key.js';
export * from './version-token.js';
export * from './visible-reader.js';
export * from './write-batch-builder.js';
export * from './write-batch-reader.js';
export { CommandKind, ENGINE_KEY_BYTES_MAX, WRITE_BATCH_FORMAT } from './write-batch-format.js';
