export { BankLoad } from './bank.js';
export { Caller, type CallerOptions, type Outcome } from './caller.js';
export { cairnLoadClient } from './cairn-load-client.js';
export { ListAppendLoad } from './list-append.js';
export {
  LOAD_END,
  LOAD_PREFIX,
  LOADS,
  type Fault,
  type Load,
  type LoadName,
  type LoadOptions,
} from './load.js';
export type * from './load-client.js';
export { newLoad } from './loads.js';
export { fateOf, type CallKind } from './outcomes.js';
