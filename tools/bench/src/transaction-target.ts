/** What has transactions in one call, with conditions. */
export interface ComparingTarget {
  /** Puts all keys if all exist, else nothing; resolves with which it was. */
  comparePut(slot: number, keys: readonly Buffer[], value: Buffer): Promise<boolean>;
}

/** What has transactions. */
export interface TransactionTarget extends ComparingTarget {
  /** How often transactions were run again because others came in between, since it was opened. */
  readonly restarts: number;
  /** Reads all keys, then puts them; all of it at one moment. Resolves with how many were there. */
  rewrite(slot: number, keys: readonly Buffer[], value: Buffer): Promise<number>;
  /** Reads all keys as of one instant; resolves with how many were there. */
  readTogether(slot: number, keys: readonly Buffer[]): Promise<number>;
  /** Reads so many rows from `start`; resolves with their number. */
  scanSome(slot: number, start: Buffer, limit: number): Promise<number>;
  /** Makes a counter of 0, and a connection for each of so many slots. */
  openCounter(slots: number): Promise<CounterTarget>;
}

/** One counter that many clients add to. */
export interface CounterTarget {
  readonly restarts: number;
  /** Adds 1 by reading and writing in a transaction. */
  add(slot: number): Promise<void>;
  read(): Promise<number>;
  close(): void;
}
