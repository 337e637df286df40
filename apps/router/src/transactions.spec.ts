/**
 * Goal: what the doors of transactions take, refuse and answer. Method: real gRPC on loopback before a
 * coordinator that notes what it is asked for and answers as the test wants.
 */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { CairnError, Gates } from '@cairn/base';
import { createMetrics } from '@cairn/observability';
import { ConditionKind, ExecuteOp, fromServiceError } from '@cairn/wire';
import {
  Isolation,
  LockPolicy,
  LockStrength,
  type BatchOperation,
  type BatchResult,
  type CommitRequest,
  type ExecuteRequest,
  type WriteOperation,
  type WriteResult,
} from '@cairn/wire/gen/cairn/v1/kv.js';
import { TxnClient } from '@cairn/wire/gen/cairn/v1/txn.js';
import { credentials, type ServiceError } from '@grpc/grpc-js';

import { DoorRig, eventually, StreamEnd } from './door-rig.testing.js';

let rig: DoorRig;
let end: StreamEnd;
let txn: TxnClient;
const metrics = createMetrics({ processMetrics: false });

beforeEach(async () => {
  rig = await DoorRig.start({}, { metrics });
  end = new StreamEnd(rig);
  txn = new TxnClient(rig.address, credentials.createInsecure());
});

afterEach(async () => {
  end.stream.cancel();
  txn.close();
  await rig.close();
});

const key = Buffer.from('k');
const none = Buffer.alloc(0);
const NO_COMMIT: CommitRequest = {
  start: 0,
  isolation: Isolation.UNSPECIFIED,
  reads: [],
  spans: [],
  writes: [],
  reserved: [],
  owner: 0,
};
const putWrite = (name: string, value = none): CommitRequest['writes'][number] => ({
  write: { $case: 'put', value: { key: Buffer.from(name), value, ttlMs: 0 } },
});

let calls = 0;
async function streamed(
  operation: BatchOperation['operation'],
  more: Partial<BatchOperation> = {},
): Promise<BatchResult['result']> {
  calls += 1;
  const call = calls;
  end.send({ call, operation, ...more });
  await end.until(() => end.results.some((result) => result.call === call));
  return end.results.find((result) => result.call === call)?.result;
}

async function refused(operation: BatchOperation['operation']): Promise<[string, string]> {
  const result = await streamed(operation);
  return result?.$case === 'error' ? [result.value.code, result.value.message] : ['OK', ''];
}

type Unary<Request, Response> = (
  request: Request,
  done: (error: ServiceError | null, response: Response) => void,
) => unknown;

function unary<Request, Response>(method: Unary<Request, Response>, request: Request): Promise<Response> {
  return new Promise((resolve, reject) => {
    method.call(txn, request, (error, response) => {
      if (error === null) resolve(response);
      else reject(fromServiceError(error));
    });
  });
}

describe('reads of one instant', () => {
  it('are as of a timestamp of their own, or of the one that is named', async () => {
    rig.transactions.put('k', Buffer.from('v'));
    rig.transactions.put('cart', none, 1);
    const keys = [key, Buffer.from('none'), Buffer.from('cart')];
    const fresh = await streamed({
      $case: 'snapshotGet',
      value: { keys, at: { $case: 'fresh', value: true } },
    });
    expect(fresh).toMatchObject({
      $case: 'snapshotGet',
      value: { timestamp: 1_000, partial: false },
    });
    const results = fresh?.$case === 'snapshotGet' ? fresh.value.results : [];
    expect(results.map(({ result }) => result?.$case)).toEqual(['get', 'get', 'error']);
    expect(results[0]?.result?.value).toMatchObject({ found: true, value: Buffer.from('v') });
    expect(results[2]?.result?.value).toMatchObject({ code: 'WRONG_KIND', kind: 1 });
    await streamed({ $case: 'snapshotGet', value: { keys: [key], at: { $case: 'timestamp', value: 5 } } });
    expect(rig.transactions.reads.map(({ at }) => at)).toEqual([undefined, 5]);
    expect(await streamed({ $case: 'getTimestamp', value: {} })).toEqual({
      $case: 'getTimestamp',
      value: { timestamp: 77 },
    });
  });

  it('go on at the timestamp of the first of them, and end where the answer is full', async () => {
    const keys = Array.from({ length: 40 }, (_, index) => Buffer.from(`k${index}`));
    for (const each of keys) rig.transactions.put(each.toString(), Buffer.alloc(200_000));
    const answer = await streamed({
      $case: 'snapshotGet',
      value: { keys, at: { $case: 'fresh', value: true } },
    });
    expect(answer).toMatchObject({ value: { partial: true, timestamp: 1_000 } });
    const results = answer?.$case === 'snapshotGet' ? answer.value.results : [];
    expect(results).toHaveLength(15);
    expect(rig.transactions.reads.map(({ at }) => at)).toEqual([undefined]);
    const few = keys.slice(0, 20);
    for (const each of few) rig.transactions.put(each.toString(), Buffer.alloc(10));
    await streamed({ $case: 'snapshotGet', value: { keys: few, at: { $case: 'fresh', value: true } } });
    expect(rig.transactions.reads.slice(1).map(({ keys: asked, at }) => [asked.length, at])).toEqual([
      [16, undefined],
      [4, 1_000],
    ]);
  });

  it.each([
    ['no keys', { keys: [], at: { $case: 'fresh' as const, value: true } }, 'keys must not be empty'],
    ['no instant', { keys: [key], at: undefined }, 'at must be one of timestamp, fresh'],
    [
      'instant 0',
      { keys: [key], at: { $case: 'timestamp' as const, value: 0 } },
      'timestamp must be above 0',
    ],
    ['not fresh', { keys: [key], at: { $case: 'fresh' as const, value: false } }, 'fresh must be true'],
    [
      'a reserved key',
      { keys: [key, Buffer.of(0xff, 1)], at: { $case: 'fresh' as const, value: true } },
      'keys begins with the byte FF',
    ],
  ])('are refused with %s', async (_what, value, message) => {
    const [code, said] = await refused({ $case: 'snapshotGet', value });
    expect([code, said]).toEqual(['INVALID_ARGUMENT', expect.stringContaining(message)]);
    expect(rig.transactions.reads).toEqual([]);
  });

  it('whose client takes nothing are bounded in bytes, like others', async () => {
    rig.transactions.put('large', Buffer.alloc(1024 * 1024));
    await end.until(() => end.messages.length === 1);
    end.stream.pause();
    const operation: BatchOperation['operation'] = {
      $case: 'snapshotGet',
      value: { keys: [Buffer.from('large')], at: { $case: 'timestamp', value: 5 } },
    };
    end.send(...Array.from({ length: 250 }, (_, index) => ({ call: 10_000 + index, operation })));
    await eventually(() => rig.transactions.reads.length === 250);
    end.stream.resume();
    await end.until(() => end.results.length === 250);
    const codes = end.results.map(({ result }) => (result?.$case === 'error' ? result.value.code : 'OK'));
    const held = codes.filter((code) => code === 'RESOURCE_EXHAUSTED').length;
    expect(codes.filter((code) => code === 'OK').length + held).toBe(250);
    expect(held).toBeGreaterThan(50);
  });
});

describe('reservations', () => {
  it('are taken and given back for the transactions of a client, and say which keys were left out', async () => {
    const value = {
      ...{ owner: 0, keys: [key, Buffer.from('held')], strength: LockStrength.SHARE },
      ...{ policy: LockPolicy.SKIP_LOCKED, lockTimeoutMs: 70, start: 0 },
    };
    expect(await streamed({ $case: 'reserve', value })).toEqual({
      $case: 'reserve',
      value: { owner: 1_000, timestamp: 1_000, skipped: [1], newest: 7 },
    });
    expect(rig.transactions.reserves).toMatchObject([{ strength: 2, policy: 3, lockTimeoutMs: 70 }]);
    const { latestTimestamp } = rig.router;
    for (const wrong of [{ strength: 9 }, { policy: 9 }, { owner: latestTimestamp + 1 }, { keys: [none] }]) {
      const refused = await streamed({ $case: 'reserve', value: { ...value, ...wrong } });
      expect(refused).toMatchObject({ $case: 'error', value: { code: 'INVALID_ARGUMENT' } });
    }
    expect(await streamed({ $case: 'release', value: { owner: 5 } })).toEqual({
      $case: 'release',
      value: {},
    });
    expect(rig.transactions.released).toEqual([[5, expect.any(String)]]);
  });
});

describe('a commit', () => {
  it('brings reads, spans and writes to the coordinator, each key once', async () => {
    const value: CommitRequest = {
      start: rig.router.latestTimestamp - 1,
      isolation: Isolation.SNAPSHOT,
      reads: [key, Buffer.from('b'), key],
      spans: [{ start: key, end: none }],
      writes: [putWrite('w', Buffer.from('v')), { write: { $case: 'delete', value: { key } } }],
      ...{ reserved: [key, key], owner: 5 },
    };
    expect(await streamed({ $case: 'commit', value })).toEqual({
      $case: 'commit',
      value: { timestamp: 1_000 },
    });
    const [commit] = rig.transactions.commits;
    expect(commit).toMatchObject({ start: value.start, isolation: 'snapshot' });
    expect(commit?.reads.map(String)).toEqual(['k', 'b']);
    expect([commit?.reserved?.map(String), commit?.owner]).toEqual([['k'], 5]);
    expect(commit?.spans).toEqual([{ start: key, end: Buffer.of(0xff) }]);
    expect(commit?.writes.map(({ type, key: written }) => [type, String(written)])).toEqual([
      ['put', 'w'],
      ['delete', 'k'],
    ]);
    expect(await metrics.render()).toMatch(/cairn_router_requests_total\{op="commit",code="OK"\} 1/);
  });

  it.each<[string, Partial<CommitRequest>, string, string]>([
    ['reads without a start', { reads: [key] }, 'INVALID_ARGUMENT', 'start must be given'],
    [
      'spans without a start',
      { spans: [{ start: none, end: none }] },
      'INVALID_ARGUMENT',
      'start must be given',
    ],
    ['an unknown isolation', { isolation: 9 as never }, 'INVALID_ARGUMENT', 'isolation 9 is not known'],
    ['a key twice', { writes: [putWrite('a'), putWrite('a')] }, 'INVALID_ARGUMENT', 'write 1 is of a key'],
    ['a write of nothing', { writes: [{ write: undefined }] }, 'INVALID_ARGUMENT', 'a write must be a put'],
    ['an empty key', { writes: [putWrite('')] }, 'INVALID_ARGUMENT', 'key must not be empty'],
    [
      'a value that is too long',
      { writes: [putWrite('a', Buffer.alloc(1_048_577))] },
      'INVALID_ARGUMENT',
      'value has 1048577 bytes; the limit is 1048576',
    ],
    [
      'a reserved key',
      { start: 1e15, reads: [Buffer.of(0xff)] },
      'INVALID_ARGUMENT',
      'reads begins with the byte FF',
    ],
    [
      'a span that ends before it begins',
      { start: 1e15, spans: [{ start: Buffer.from('b'), end: Buffer.from('a') }] },
      'INVALID_ARGUMENT',
      'end lies before start',
    ],
  ])('is refused with %s', async (_what, value, code, message) => {
    const said = await refused({ $case: 'commit', value: { ...NO_COMMIT, ...value } });
    expect(said).toEqual([code, expect.stringContaining(message)]);
    expect(rig.transactions.commits).toEqual([]);
  });

  it('is refused when it began too long ago', async () => {
    end.stream.cancel();
    await rig.close();
    rig = await DoorRig.start({}, { now: 2 * 3_600_000 * 4_096 });
    end = new StreamEnd(rig);
    const value = { ...NO_COMMIT, start: 3_599_000 * 4_096, writes: [putWrite('a')] };
    expect(await refused({ $case: 'commit', value })).toEqual([
      'TRANSACTION_TOO_LARGE',
      'the transaction has begun 3601 s ago; the limit is 3600 s',
    ]);
  });

  it('says what the coordinator says, with the class of what may be done', async () => {
    rig.transactions.failure = new CairnError('TRANSACTION_ABORTED', 'others were first');
    const aborted = await streamed({ $case: 'commit', value: { ...NO_COMMIT, writes: [putWrite('a')] } });
    expect(aborted).toMatchObject({ value: { code: 'TRANSACTION_ABORTED', retryClass: 4 } });
    rig.transactions.failure = new CairnError('OUTCOME_UNKNOWN', 'nobody knows');
    const unknown = await streamed({ $case: 'commit', value: { ...NO_COMMIT, writes: [putWrite('a')] } });
    expect(unknown).toMatchObject({ value: { code: 'OUTCOME_UNKNOWN', retryClass: 3 } });
    expect(await metrics.render()).toContain('op="commit",code="TRANSACTION_ABORTED"');
  });

  it('is given up with its cancellation, and with its stream', async () => {
    const release = Promise.withResolvers<void>();
    rig.transactions.held = release.promise;
    const operation: BatchOperation['operation'] = {
      $case: 'commit',
      value: { ...NO_COMMIT, writes: [putWrite('a')] },
    };
    end.send({ call: 501, operation }, { call: 502, operation });
    await eventually(() => rig.transactions.commits.length === 2);
    end.send({ call: 501, operation: { $case: 'cancel', value: true } });
    await eventually(() => rig.transactions.aborted === 1);
    end.stream.cancel();
    await eventually(() => rig.transactions.aborted === 2);
    release.resolve();
    await eventually(() => rig.context.callers.busy === 0);
  });
});

describe('execute', () => {
  const request: ExecuteRequest = {
    conditions: [
      { key, condition: { $case: 'exists', value: true } },
      { key, condition: { $case: 'absent', value: true } },
      { key, condition: { $case: 'valueEquals', value: Buffer.from('v') } },
      { key, condition: { $case: 'versionEquals', value: Buffer.alloc(12) } },
    ],
    then: [
      { operation: { $case: 'get', value: { key } } },
      { operation: { $case: 'put', value: { key, value: Buffer.from('v'), ttlMs: 9 } } },
      { operation: { $case: 'delete', value: { key } } },
      { operation: { $case: 'increment', value: { key, delta: '-9223372036854775808' } } },
    ],
    otherwise: [{ operation: { $case: 'get', value: { key: Buffer.from('cart') } } }],
  };

  it('is the same on the stream and as a call', async () => {
    rig.transactions.put('k', Buffer.from('v'));
    const streamedAnswer = await streamed({ $case: 'execute', value: request });
    const called = await unary(txn.execute as Unary<ExecuteRequest, unknown>, request);
    expect(streamedAnswer?.value).toEqual(called);
    expect(called).toMatchObject({
      ...{ succeeded: true, timestamp: 1_000, resultsOmitted: false },
      results: [
        { result: { $case: 'get', value: { found: true } } },
        { result: { $case: 'put', value: { timestamp: 1_000 } } },
        { result: { $case: 'delete', value: { existed: true } } },
        { result: { $case: 'increment', value: { value: '-9223372036854775808' } } },
      ],
    });
    const [oneShot] = rig.transactions.oneShots;
    expect(oneShot?.conditions.map(({ kind }) => kind)).toEqual([
      ConditionKind.exists,
      ConditionKind.absent,
      ConditionKind.valueEquals,
      ConditionKind.versionEquals,
    ]);
    expect(oneShot?.then[1]).toMatchObject({ op: ExecuteOp.put, ttlMs: 9 });
  });

  it('tells the kind of what holds no bytes, and that results are not known any more', async () => {
    rig.transactions.put('cart', none, 1);
    rig.transactions.succeeds = false;
    expect(await streamed({ $case: 'execute', value: request })).toMatchObject({
      value: {
        succeeded: false,
        results: [{ result: { $case: 'error', value: { code: 'WRONG_KIND', kind: 1 } } }],
      },
    });
    rig.transactions.isForgotten = true;
    expect(await streamed({ $case: 'execute', value: request })).toMatchObject({
      value: { succeeded: false, results: [], resultsOmitted: true },
    });
  });

  it('leaves out values that the answer has no room for', async () => {
    rig.transactions.put('k', Buffer.alloc(1024 * 1024));
    const then = Array<ExecuteRequest['then'][number]>(5).fill({
      operation: { $case: 'get', value: { key } },
    });
    const answer = await streamed({ $case: 'execute', value: { ...request, then } });
    const results = answer?.$case === 'execute' ? answer.value.results : [];
    expect(results.map(({ result }) => (result?.$case === 'error' ? result.value.code : 'value'))).toEqual([
      ...['value', 'value', 'value'],
      ...['TRANSACTION_TOO_LARGE', 'TRANSACTION_TOO_LARGE'],
    ]);
  });

  it.each<[string, Partial<ExecuteRequest>, string]>([
    ['a condition of nothing', { conditions: [{ key, condition: undefined }] }, 'condition must be one of'],
    [
      'a condition that says no',
      { conditions: [{ key, condition: { $case: 'exists', value: false } }] },
      'exists must be true',
    ],
    [
      'a version that is none',
      { conditions: [{ key, condition: { $case: 'versionEquals', value: key } }] },
      'version_equals is not a version: 12 bytes are wanted',
    ],
    ['an operation of nothing', { then: [{ operation: undefined }] }, 'operation must be given'],
    [
      'an empty key in what may not be carried out',
      { otherwise: [{ operation: { $case: 'delete', value: { key: none } } }] },
      'key must not be empty',
    ],
  ])('is refused with %s', async (_what, more, message) => {
    const said = await refused({ $case: 'execute', value: { ...request, ...more } });
    expect(said).toEqual(['INVALID_ARGUMENT', expect.stringContaining(message)]);
  });

  it('counts conditions and operations of both lists', async () => {
    const then = Array<ExecuteRequest['then'][number]>(124).fill({
      operation: { $case: 'get', value: { key } },
    });
    const said = await refused({ $case: 'execute', value: { ...request, then } });
    expect(said[1]).toContain('otherwise has 129 elements or more; the limit is 128');
  });
});

describe('a batch that is atomic', () => {
  const put = (name: string): WriteOperation => ({
    operation: {
      $case: 'put',
      value: { key: Buffer.from(name), value: Buffer.from('v'), ttlMs: 0, ordering: 0, requestId: undefined },
    },
  });
  const compared = (name: string): WriteOperation => ({
    operation: {
      $case: 'compareAndSet',
      value: {
        ...{ key: Buffer.from(name), value: Buffer.from('new'), ttlMs: 0, ordering: 0, requestId: undefined },
        expected: { $case: 'expectedValue', value: Buffer.from('old') },
      },
    },
  });
  const written = (...operations: WriteOperation[]): Promise<WriteResult[]> =>
    new Promise((resolve, reject) => {
      rig.client.batchWrite({ operations, atomic: true }, (error, response) => {
        if (error === null) resolve(response.results);
        else reject(fromServiceError(error));
      });
    });

  it('of puts and deletes is one commit that has read nothing', async () => {
    const remove: WriteOperation = {
      operation: { $case: 'delete', value: { key, ordering: 0, requestId: undefined } },
    };
    const results = await written(put('a'), remove);
    expect(results.map(({ result }) => [result?.$case, result?.value])).toEqual([
      ['put', { version: none, timestamp: 1_000 }],
      ['delete', { existed: false, version: none, timestamp: 1_000 }],
    ]);
    expect(rig.transactions.commits).toMatchObject([{ start: 0, reads: [], spans: [] }]);
    expect(await written()).toEqual([]);
  });

  it('with comparisons has conditions, and tells what is there when one does not hold', async () => {
    rig.transactions.put('a', Buffer.from('other'));
    const count: WriteOperation = {
      operation: { $case: 'increment', value: { key, delta: '5', ordering: 0, requestId: undefined } },
    };
    const done = await written(compared('a'), put('b'), count);
    expect(done.map(({ result }) => result?.$case)).toEqual(['compareAndSet', 'put', 'increment']);
    expect(done[0]?.result?.value).toMatchObject({ succeeded: true, timestamp: 1_000 });
    expect(done[2]?.result?.value).toMatchObject({ value: '5' });
    rig.transactions.succeeds = false;
    const failed = await written(compared('a'), put('b'), count);
    expect(failed[0]?.result?.value).toMatchObject({
      ...{ succeeded: false, found: true, value: Buffer.from('other') },
    });
    expect(failed[1]?.result?.value).toMatchObject({ code: 'FAILED_PRECONDITION' });
    rig.transactions.succeeds = true;
    rig.transactions.isForgotten = true;
    await expect(written(compared('a'), count)).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    expect((await written(compared('a')))[0]?.result?.value).toMatchObject({
      succeeded: true,
      version: none,
    });
  });

  it('fails as a whole, and names the operation that cannot be in it', async () => {
    rig.transactions.failure = new CairnError('TRANSACTION_ABORTED', 'others were first');
    await expect(written(put('a'))).rejects.toMatchObject({ code: 'TRANSACTION_ABORTED' });
    const expire: WriteOperation = {
      operation: { $case: 'expire', value: { key, ttlMs: 5, ordering: 0, requestId: undefined } },
    };
    const named: WriteOperation = {
      operation: {
        $case: 'delete',
        value: { key, ordering: 0, requestId: { client: 1, sequence: 1, stamp: 1, retry: false } },
      },
    };
    const strict: WriteOperation = {
      operation: { $case: 'delete', value: { key, ordering: 2, requestId: undefined } },
    };
    for (const [operations, message] of [
      [[put('a'), put('a')], 'write 1 is of a key that one before it writes'],
      [[put('a'), expire], 'operation 1 is an expire'],
      [[put('a'), named], 'operation 1 has a request_id'],
      [[strict], 'operation 0 asks for ORDERING_STRICT'],
      [[{ operation: undefined }], 'operation 0 says nothing'],
    ] as const)
      await expect(written(...operations)).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
        message: expect.stringContaining(message) as unknown,
      });
    const many = Array.from({ length: 43 }, (_, index) => compared(String(index)));
    await expect(written(...many)).rejects.toMatchObject({ code: 'TRANSACTION_TOO_LARGE' });
  });
});

describe('the Txn service', () => {
  const begun = async (more: object = {}): Promise<string> =>
    (
      await unary(txn.begin as Unary<object, { transaction: string }>, {
        isolation: 0,
        readOnly: false,
        ...more,
      })
    ).transaction;
  const call = <Response>(method: keyof TxnClient, request: object): Promise<Response> =>
    unary(txn[method] as unknown as Unary<object, Response>, request);

  it('keeps what a transaction writes until it commits', async () => {
    rig.transactions.put('n', Buffer.from('5'));
    const transaction = await begun();
    await call('put', { transaction, key, value: Buffer.from('v'), ttlMs: 0 });
    await call('savepoint', { transaction, name: 'here' });
    await call('delete', { transaction, key });
    await call('rollbackTo', { transaction, name: 'here' });
    expect(await call('increment', { transaction, key: Buffer.from('n'), delta: '2' })).toEqual({
      value: '7',
    });
    const read = await call<{ results: { result: { value: { value: Buffer } } }[] }>('get', {
      transaction,
      keys: [key, Buffer.from('n')],
    });
    expect(read.results.map(({ result }) => result.value.value.toString())).toEqual(['v', '7']);
    expect(rig.transactions.rows.has('k')).toBe(false);
    expect(await call('commit', { transaction })).toEqual({ timestamp: 1_000 });
    expect(rig.transactions.rows.has('k')).toBe(true);
    await expect(call('get', { transaction, keys: [key] })).rejects.toMatchObject({
      code: 'TRANSACTION_NOT_FOUND',
    });
    expect(await call('rollback', { transaction })).toEqual({});
  });

  it('streams the rows of a span', async () => {
    for (const name of ['a', 'b', 'c']) rig.transactions.put(name, Buffer.from(name));
    const transaction = await begun({ readOnly: true, at: 55 });
    const span = { start: none, end: none, prefix: none };
    const flags = { limit: 0, reverse: false, keysOnly: false, pageBytes: 0 };
    const rows: string[] = [];
    for await (const page of txn.scan({ transaction, ...span, ...flags })) {
      const { rows: found, timestamp } = page as { rows: { key: Buffer }[]; timestamp: number };
      rows.push(...found.map((row) => `${row.key.toString()}@${timestamp}`));
    }
    expect(rows).toEqual(['a@55', 'b@55', 'c@55']);
    const failed = new Promise<unknown>((resolve) => {
      txn.scan({ transaction: 'no', ...span, ...flags }).on('error', resolve);
    });
    expect(await failed).toMatchObject({ details: 'there is no such transaction' });
    expect(await metrics.render()).toContain('op="txn_scan",code="OK"');
  });

  it('belongs to the connection that began it', async () => {
    const transaction = await begun();
    const other = new TxnClient(rig.address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    const answer = new Promise((resolve) => {
      other.commit({ transaction }, (error) => {
        resolve(error === null ? undefined : fromServiceError(error).code);
      });
    });
    expect(await answer).toBe('TRANSACTION_NOT_FOUND');
    const before = rig.transactions.gone.length;
    other.close();
    await eventually(() => rig.transactions.gone.length > before);
    expect(rig.transactions.gone.at(-1)).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(await call('commit', { transaction })).toEqual({ timestamp: 1_000 });
  });

  it.each([
    [
      'begin with an unknown isolation',
      'begin',
      { isolation: 7, readOnly: false },
      'isolation 7 is not known',
    ],
    [
      'begin of now, with a time',
      'begin',
      { isolation: 0, readOnly: false, at: 5 },
      'at is for transactions that are read_only',
    ],
    ['begin at 0', 'begin', { isolation: 0, readOnly: true, at: 0 }, 'at must be above 0'],
    ['put of an empty key', 'put', { key: none, value: none, ttlMs: 0 }, 'key must not be empty'],
    [
      'put of a long value',
      'put',
      { key, value: Buffer.alloc(1_048_577), ttlMs: 0 },
      'value has 1048577 bytes',
    ],
    ['put with a long time to live', 'put', { key, value: none, ttlMs: 1e12 }, 'ten years'],
    ['delete of a reserved key', 'delete', { key: Buffer.of(0xff) }, 'begins with the byte FF'],
    ['get of no keys', 'get', { keys: [] }, 'keys must not be empty'],
    ['savepoint without a name', 'savepoint', { name: '' }, 'name must not be empty'],
    [
      'savepoint with a long name',
      'savepoint',
      { name: 'x'.repeat(129) },
      'name has 129 bytes; the limit is 128',
    ],
    ['rollbackTo nowhere', 'rollbackTo', { name: 'nowhere' }, 'there is no savepoint nowhere'],
  ] as const)('%s is refused', async (_what, method, request, message) => {
    const transaction = await begun();
    await expect(call(method, { transaction, ...request })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining(message) as unknown,
    });
  });
});

describe('before all nodes know transactions', () => {
  it('every call says what to do', async () => {
    Object.assign(rig.transactions, { gates: new Gates(1) });
    const value = { keys: [key], at: { $case: 'fresh' as const, value: true } };
    for (const operation of [
      { $case: 'snapshotGet' as const, value },
      { $case: 'commit' as const, value: NO_COMMIT },
      { $case: 'execute' as const, value: { conditions: [], then: [], otherwise: [] } },
    ])
      expect(await refused(operation)).toEqual([
        'FAILED_PRECONDITION',
        expect.stringContaining('`cairn upgrade finalize` raises the version'),
      ]);
    const begin = unary(txn.begin as Unary<object, unknown>, { isolation: 0, readOnly: false });
    await expect(begin).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    expect((await streamed({ $case: 'getTimestamp', value: {} }))?.$case).toBe('getTimestamp');
  });

  it('or while the router does not know, it is to be asked again', async () => {
    Object.assign(rig.transactions, { gates: new Gates(0) });
    expect((await refused({ $case: 'commit', value: NO_COMMIT }))[0]).toBe('UNAVAILABLE');
  });
});
