import { EDGE_MUTANTS } from './edge-mutants.js';
import { EXPLORE_MUTANTS } from './explore-mutants.js';
import { KV_MUTANTS } from './kv-mutants.js';
import type { Mutant } from './mutant.js';
import { ELECTION_MUTANTS, READ_MUTANTS, REPLICATION_MUTANTS } from './raft-mutants.js';
import { MEMBER_MUTANTS, HEARTBEAT_MUTANTS, STORE_MUTANTS } from './store-mutants.js';
import { TXN_MUTANTS } from './txn-mutants.js';
import { UPGRADE_MUTANTS } from './upgrade-mutants.js';
import { WATCH_MUTANTS } from './watch-mutants.js';

/** Every deliberate defect that the simulator has to notice. */
export const MUTANTS: readonly Mutant[] = [
  ...ELECTION_MUTANTS,
  ...REPLICATION_MUTANTS,
  ...READ_MUTANTS,
  ...STORE_MUTANTS,
  ...MEMBER_MUTANTS,
  ...HEARTBEAT_MUTANTS,
  ...KV_MUTANTS,
  ...EXPLORE_MUTANTS,
  ...EDGE_MUTANTS,
  ...TXN_MUTANTS,
  ...WATCH_MUTANTS,
  ...UPGRADE_MUTANTS,
];
