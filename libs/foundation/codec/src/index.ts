export * from './big-endian.js';
export * from './byte-reader.js';
export * from './byte-writer.js';
export * from './crc32.js';
export * from './sealed.js';
export * from './version-token.js';
