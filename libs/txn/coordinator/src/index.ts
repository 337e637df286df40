export { createCoordinatedRouter, type CoordinatedRouter } from './coordinated-router.js';
export { TransactionCoordinator, type CoordinatorOptions } from './coordinator.js';
export { OpenTransactions, type OpenTransactionsOptions } from './open-transactions.js';
export { DEFAULT_TRANSACTION_LIMITS, type TransactionLimits } from './limits.js';
export type * from './types.js';
