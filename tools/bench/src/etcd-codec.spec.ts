import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { loadSync, type ServiceDefinition } from '@grpc/proto-loader';
import fc from 'fast-check';
import {
  decodePutResponse,
  decodeRangeResponse,
  decodeStatusResponse,
  decodeTxnResponse,
  encodePutRequest,
  encodeRangeRequest,
  encodeTxnRequest,
  type EtcdStatus,
} from './etcd-codec.js';
import { agreedLeader, areCaughtUp } from './etcd-status.js';

const definition = loadSync(join(import.meta.dirname, '../proto/etcd_kv.proto'), { longs: Number });
const service = definition['etcdserverpb.KV'] as ServiceDefinition;
const range = service['Range'];
const put = service['Put'];
const txn = service['Txn'];
const status = (definition['etcdserverpb.Maintenance'] as ServiceDefinition)['Status'];
if (range === undefined || put === undefined || txn === undefined || status === undefined) {
  throw new Error('the proto file has all methods');
}

const bytes = fc.uint8Array({ maxLength: 40 }).map((each) => Buffer.from(each));
const revision = fc.integer({ min: 0, max: 2 ** 50 });

describe('the codec of etcd messages', () => {
  test('writes requests as the proto file has them', () => {
    const request = fc.record({
      key: bytes,
      rangeEnd: bytes,
      revision,
      limit: fc.nat(),
      isSerializable: fc.boolean(),
    });
    fc.assert(
      fc.property(request, (each) => {
        expect(range.requestDeserialize(encodeRangeRequest(each))).toEqual({
          key: each.key,
          ...(each.rangeEnd.length > 0 ? { rangeEnd: each.rangeEnd } : {}),
          ...(each.limit > 0 ? { limit: each.limit } : {}),
          ...(each.revision > 0 ? { revision: each.revision } : {}),
          ...(each.isSerializable ? { serializable: true } : {}),
        });
      }),
    );
    fc.assert(
      fc.property(bytes, bytes, (key, value) => {
        expect(put.requestDeserialize(encodePutRequest({ key, value }))).toEqual({ key, value });
      }),
    );
  });

  test('reads responses as the proto file has them', () => {
    const rows = fc.array(fc.record({ key: bytes, value: bytes }), { maxLength: 5 });
    fc.assert(
      fc.property(rows, revision, fc.boolean(), (kvs, at, more) => {
        const encoded = range.responseSerialize({ header: { revision: at }, kvs, more });
        const decoded = decodeRangeResponse(encoded);
        expect(decoded.rows.map((row) => [Buffer.from(row.key), Buffer.from(row.value)])).toEqual(
          kvs.map(({ key, value }) => [key, value]),
        );
        expect([decoded.revision, decoded.more]).toEqual([at, more]);
        expect(decodePutResponse(put.responseSerialize({ header: { revision: at } }))).toBe(at);
      }),
    );
  });

  test('writes and reads transactions as the proto file has them', () => {
    fc.assert(
      fc.property(
        fc.array(bytes, { maxLength: 4 }),
        bytes,
        fc.boolean(),
        revision,
        (keys, value, held, at) => {
          expect(txn.requestDeserialize(encodeTxnRequest({ keys, value }))).toEqual(
            keys.length === 0
              ? {}
              : {
                  compare: keys.map((key) => ({ result: 1, key, version: 0 })),
                  success: keys.map((key) => ({ requestPut: { key, value } })),
                },
          );
          const answer = txn.responseSerialize({ header: { revision: at }, succeeded: held });
          expect(decodeTxnResponse(answer)).toBe(held);
        },
      ),
    );
  });

  test('reads what a member says of itself', () => {
    // The codec that this one is compared with reads longer numbers inexactly.
    const id = fc.bigInt({ min: 1n, max: 2n ** 53n });
    fc.assert(
      fc.property(id, id, revision, (memberId, leaderId, raftAppliedIndex) => {
        const header = { memberId: String(memberId), revision: 5 };
        const encoded = status.responseSerialize({ header, leader: String(leaderId), raftAppliedIndex });
        expect(decodeStatusResponse(encoded)).toEqual({ memberId, leaderId, raftAppliedIndex });
      }),
    );
  });

  test('reads ids of members of 64 bits', () => {
    // Field 4, all 64 bits set but the lowest.
    const status = decodeStatusResponse(Buffer.from('20feffffffffffffffff01', 'hex'));
    expect(status.leaderId).toBe(2n ** 64n - 2n);
  });

  test('takes for the leader whom all name while nobody lags', () => {
    const at = (memberId: bigint, leaderId: bigint, raftAppliedIndex = 7): EtcdStatus => ({
      memberId,
      leaderId,
      raftAppliedIndex,
    });
    expect(agreedLeader([at(1n, 2n), at(2n, 2n), at(3n, 2n)])).toBe(1);
    expect(agreedLeader([at(1n, 2n), at(2n, 2n), at(3n, 1n)])).toBeUndefined();
    expect(agreedLeader([at(1n, 0n), at(2n, 0n)])).toBeUndefined();
    expect(areCaughtUp([at(1n, 2n), at(2n, 2n)])).toBe(true);
    expect(areCaughtUp([at(1n, 2n, 6), at(2n, 2n)])).toBe(false);
  });

  test('skips fields that it does not know', () => {
    // Field 9, a varint, and field 4 (count), around a row with a mod_revision.
    const row = Buffer.from('12070a016b18072a0176', 'hex');
    row[1] = row.length - 2;
    const message = Buffer.concat([Buffer.from('4805', 'hex'), row, Buffer.from('2001', 'hex')]);
    const decoded = decodeRangeResponse(message);
    expect(decoded.rows.map((each) => Buffer.from(each.key).toString())).toEqual(['k']);
    expect(decoded.rows.map((each) => Buffer.from(each.value).toString())).toEqual(['v']);
  });

  test('refuses bytes that are no message', () => {
    expect(() => decodeRangeResponse(Buffer.from('12ff', 'hex'))).toThrow();
  });
});
