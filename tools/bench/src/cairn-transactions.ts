import { assert, CairnError } from '@cairn/base';
import type { CairnClient, Transaction } from '@cairn/client';
import type { CounterTarget, TransactionTarget } from './transaction-target.js';

/** No key of the data set. */
const COUNTER_KEY = 'counter';

/** Runs a closure as a transaction and counts when it runs again. */
async function counted<Result>(
  counts: { restarts: number },
  client: CairnClient,
  work: (transaction: Transaction) => Promise<Result>,
): Promise<Result> {
  let runs = 0;
  return client.transaction((transaction) => {
    if (runs > 0) counts.restarts += 1;
    runs += 1;
    return work(transaction);
  });
}

/** Transactions of a cluster of ours under its SDK, with all defaults. */
export class CairnTransactions implements TransactionTarget {
  restarts = 0;
  readonly #client: CairnClient;
  readonly #connect: () => CairnClient;

  constructor(client: CairnClient, connect: () => CairnClient) {
    this.#client = client;
    this.#connect = connect;
  }

  rewrite(_slot: number, keys: readonly Buffer[], value: Buffer): Promise<number> {
    return counted(this, this.#client, async (transaction) => {
      const rows = await transaction.getMany(keys);
      for (const key of keys) transaction.put(key, value);
      return rows.filter((row) => row !== undefined).length;
    });
  }

  readTogether(_slot: number, keys: readonly Buffer[]): Promise<number> {
    return counted(this, this.#client, async (transaction) => {
      const rows = await transaction.getMany(keys);
      return rows.filter((row) => row !== undefined).length;
    });
  }

  async comparePut(_slot: number, keys: readonly Buffer[], value: Buffer): Promise<boolean> {
    const { succeeded } = await this.#client.execute({
      if: keys.map((key) => ({ key, exists: true })),
      then: keys.map((key) => ({ put: { key, value } })),
    });
    return succeeded;
  }

  async scanSome(_slot: number, start: Buffer, limit: number): Promise<number> {
    let rows = 0;
    for await (const page of this.#client.pages({ start, limit })) rows += page.rows.length;
    return rows;
  }

  async openCounter(slots: number): Promise<CounterTarget> {
    await this.#client.put(COUNTER_KEY, '0');
    const clients = Array.from({ length: slots }, () => this.#connect());
    const counter = new Counter(clients);
    try {
      await Promise.all(clients.map((client) => client.ready()));
    } catch (error) {
      counter.close();
      throw error;
    }
    return counter;
  }
}

class Counter implements CounterTarget {
  restarts = 0;
  readonly #clients: readonly CairnClient[];

  constructor(clients: readonly CairnClient[]) {
    this.#clients = clients;
  }

  async add(slot: number): Promise<void> {
    await counted(this, this.#clientOf(slot), (transaction) => transaction.increment(COUNTER_KEY));
  }

  async read(): Promise<number> {
    const row = await this.#clientOf(0).get(COUNTER_KEY);
    if (row === undefined) throw new CairnError('INTERNAL', 'The counter is gone.');
    return Number(row.text());
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }

  #clientOf(slot: number): CairnClient {
    const client = this.#clients[slot];
    assert(client !== undefined, 'each slot has a client', { slot });
    return client;
  }
}
