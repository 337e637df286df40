export * from './clock.js';
export * from './disk.js';
export * from './rng.js';
export * from './telemetry.js';
export * from './transport.js';
export * from './noop-telemetry.js';
export { LogBudget, type LogBudgetOptions } from './log-budget.js';
