import { connect, type CairnClient, type ReadOptions } from '@cairn/client';
import { CairnTransactions } from './cairn-transactions.js';
import type { LoadTarget } from './closed-loop.js';

const NO_OPTIONS = {};
const LINEARIZABLE: ReadOptions = {};
const STALE: ReadOptions = { consistency: 'stale' };

/** A cluster of ours under its SDK, with all defaults. */
export class CairnTarget implements LoadTarget {
  readonly transactions: CairnTransactions;
  readonly #client: CairnClient;

  /** Without `retries` a refusal surfaces at once; otherwise the client repeats it, as it does by default. */
  constructor(endpoints: readonly string[], { retries = true }: { readonly retries?: boolean } = {}) {
    this.#client = connect({ endpoints, ...(retries ? {} : { retryBudgetMax: 0 }) });
    this.transactions = new CairnTransactions(this.#client, () => connect({ endpoints }));
  }

  /** @throws when no router answers. */
  async ready(): Promise<void> {
    await this.#client.ready();
  }

  put(_slot: number, key: Buffer, value: Buffer, timeoutMs?: number): Promise<unknown> {
    return this.#client.put(key, value, timeoutMs === undefined ? NO_OPTIONS : { timeoutMs });
  }

  get(_slot: number, key: Buffer, isStale: boolean): Promise<unknown> {
    return this.#client.get(key, isStale ? STALE : LINEARIZABLE);
  }

  async scan(start: Buffer, end: Buffer): Promise<number> {
    let rows = 0;
    for await (const page of this.#client.pages({ start, end })) rows += page.rows.length;
    return rows;
  }

  close(): void {
    this.#client.close();
  }
}
