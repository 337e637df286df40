export { TransactionCoordinator, type CoordinatorOptions } from './coordinator.js';
export { OpenTransactions, type OpenTransactionsOptions } from './open-transactions.js';
export type * from './types.js';
