export * from './data-directory.js';
export * from './directory-lock.js';
export * from './node-clock.js';
export * from './node-disk.js';
export * from './node-rng.js';
export * from './tcp-connection.js';
export * from './tcp-transport.js';
export * from './uncaught.js';
export { JobThread, serveJobs } from './job-thread.js';
