/** For tests of this package and of those that use it: a cluster that fits into one object. */
export { FakeCluster } from './fake-cluster.js';
export { FakeRouter } from './fake-router.js';
export type { FakeRouterOptions, Verdict } from './fake-router.js';
export { FakeStore } from './fake-store.js';
