export * from './assert.js';
export * from './bounded-bytes.js';
export * from './brands.js';
export * from './errors.js';
export * from './fair-share.js';
export * from './id-table.js';
export * from './lists.js';
export * from './range-descriptor.js';
export type * from './micro-benchmark.js';
