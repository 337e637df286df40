import { CairnError } from '@cairn/base';
import type {
  CairnClient,
  Change,
  ConditionInput,
  ExecuteOperationInput,
  Row,
  StoredValue,
  Transaction,
} from '@cairn/client';

import type {
  KeySpan,
  LoadChange,
  LoadClient,
  LoadCondition,
  LoadOperation,
  LoadTransaction,
  LoadWatch,
  LoadWatchOptions,
  OneShotAnswer,
} from './load-client.js';

/** Of watches: the least that there is. */
const PROGRESS_MS = 500;

/** How long calls may take, and pages of scans. */
export interface LoadClientOptions {
  readonly timeoutMs: number;
  /** Pages of scans end behind so many bytes. Default: the server's. */
  readonly pageBytes?: number;
}

function textOf(entry: StoredValue | undefined): string | undefined {
  return entry?.value.toString('latin1');
}

async function rowsOf(rows: AsyncIterable<Row>): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const row of rows) found.set(row.keyText(), row.value.toString('latin1'));
  return found;
}

function transactionOf(transaction: Transaction, pageBytes: number): LoadTransaction {
  return {
    get: async (key) => textOf(await transaction.get(key)),
    getMany: async (keys) => (await transaction.getMany(keys)).map(textOf),
    scan: ({ start, end }) => rowsOf(transaction.scan({ start, end, pageBytes })),
    put: (key, value, ttlMs = 0) => transaction.put(key, value, { ttlMs }),
    delete: (key) => transaction.delete(key),
    increment: async (key, delta) => Number(await transaction.increment(key, delta)),
  };
}

function conditionOf({ key, value }: LoadCondition): ConditionInput {
  return value === undefined ? { key, absent: true } : { key, value };
}

function operationOf(operation: LoadOperation): ExecuteOperationInput {
  const { key } = operation;
  switch (operation.f) {
    case 'get':
      return { get: { key } };
    case 'put':
      return { put: { key, value: operation.value, ttlMs: operation.ttlMs ?? 0 } };
    case 'delete':
      return { delete: { key } };
    case 'increment':
      return { increment: { key, delta: operation.delta } };
  }
}

function resultOf({ f }: LoadOperation, result: unknown): string | undefined {
  if (f === 'get') return textOf(result as StoredValue | undefined);
  return f === 'increment' ? String(result) : undefined;
}

/** The answer where the cluster knows that it happened, and what it found no more; undefined for other errors. */
function withoutResults(error: unknown): OneShotAnswer | undefined {
  if (!CairnError.is(error) || error.code !== 'OUTCOME_UNKNOWN') return undefined;
  const { succeeded, timestamp } = error.details;
  if (typeof succeeded !== 'boolean' || typeof timestamp !== 'number') return undefined;
  return { succeeded, commit: timestamp, results: undefined };
}

/** The client library as loads use it. */
export function cairnLoadClient(
  client: CairnClient,
  { timeoutMs, pageBytes = 0 }: LoadClientOptions,
): LoadClient {
  const call = { timeoutMs };
  return {
    get: async (key) => textOf(await client.get(key, call)),
    put: async (key, value) => (await client.put(key, value, call)).timestamp,
    delete: async (key) => {
      const { existed, timestamp } = await client.delete(key, call);
      return { existed, commit: timestamp };
    },
    compareAndSet: async (key, expected, value) => {
      const expectation =
        expected === undefined ? ({ expectedAbsent: true } as const) : { expectedValue: expected };
      const { succeeded, current, timestamp } = await client.compareAndSet(key, {
        ...expectation,
        value,
        ...call,
      });
      return { succeeded, found: textOf(current), commit: timestamp };
    },
    increment: async (key, delta) => Number(await client.increment(key, delta, call)),
    scan: ({ start, end }: KeySpan) => scanAll(client, { start, end, pageBytes, ...call }),
    transaction: async (isolation, body, extraMs = 0) => {
      let commit: (() => number | undefined) | undefined;
      const value = await client.transaction(
        async (transaction) => {
          commit = () => transaction.commitTimestamp;
          return body(transactionOf(transaction, pageBytes));
        },
        { isolation, timeoutMs: timeoutMs + extraMs },
      );
      return { value, commit: commit?.() };
    },
    snapshot: async (keys, at) => {
      const snapshot = await client.snapshot({ ...(at === undefined ? {} : { at }), ...call });
      const entries = await snapshot.getMany(keys, call);
      const rows = new Map<string, string>();
      for (const [place, key] of keys.entries()) {
        const text = textOf(entries[place]);
        if (text !== undefined) rows.set(key, text);
      }
      return { timestamp: snapshot.timestamp, rows };
    },
    execute: async ({ conditions, then, otherwise }) => {
      try {
        const input = {
          if: conditions.map(conditionOf),
          then: then.map(operationOf),
          else: otherwise.map(operationOf),
        };
        const { succeeded, timestamp, results } = await client.execute(input, call);
        const asked = succeeded ? then : otherwise;
        return {
          succeeded,
          commit: timestamp,
          results: asked.map((each, place) => resultOf(each, results[place])),
        };
      } catch (error) {
        const answer = withoutResults(error);
        if (answer === undefined) throw error;
        return answer;
      }
    },
    writeAtomically: async (writes) => {
      const inputs = writes.map(({ key, value }) =>
        value === undefined ? { delete: { key } } : { put: { key, value } },
      );
      return (await client.writeMany(inputs, { atomic: true, ...call })).timestamp;
    },
    watch: (options) => watchOf(client, options),
  };
}

function watchOf(client: CairnClient, { span, from, withPrevious }: LoadWatchOptions): LoadWatch {
  const watch = client.watch({
    ...span,
    ...(from === undefined ? {} : { from }),
    withPrevious,
    progressMs: PROGRESS_MS,
  });
  const changes = watch[Symbol.asyncIterator]();
  return {
    get token() {
      return watch.token;
    },
    get resolved() {
      return watch.resolved;
    },
    start: () => watch.start(),
    next: async () => {
      const { value } = await changes.next();
      if (value === undefined) throw new Error('a watch ended without a word');
      return changeOf(value);
    },
    close: () => {
      watch.close();
    },
  };
}

function changeOf(change: Change): LoadChange {
  const { type, timestamp, transaction, previous, token } = change;
  return {
    key: change.keyText(),
    value: type === 'delete' ? undefined : change.value.toString('latin1'),
    ...{ timestamp, transaction, token },
    previous: previous && { value: previous.value.toString('latin1'), timestamp: previous.timestamp },
  };
}

async function scanAll(
  client: CairnClient,
  options: KeySpan & { readonly pageBytes: number; readonly timeoutMs: number },
): Promise<{ readonly timestamp: number; readonly rows: ReadonlyMap<string, string> }> {
  const rows = new Map<string, string>();
  let timestamp = 0;
  for await (const page of client.pages(options)) {
    if (timestamp !== 0 && page.timestamp !== timestamp)
      throw new Error(`the pages of a scan are of ${timestamp} and ${page.timestamp}`);
    timestamp = page.timestamp;
    for (const row of page.rows) rows.set(row.keyText(), row.value.toString('latin1'));
  }
  return { timestamp, rows };
}
