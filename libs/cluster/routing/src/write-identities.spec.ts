import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import { KvOp, newKvRequest, type KvRequest } from '@cairn/wire';

import { hasIdentity } from './operation.js';
import { WriteIdentities } from './write-identities.js';

const identified = (identities: WriteIdentities, request: KvRequest): KvRequest['requestId'] => {
  identities.identify(request, timestamp(9));
  return request.requestId;
};

describe('WriteIdentities', () => {
  it('names each write that comes without a name, and knows its own', () => {
    const identities = new WriteIdentities(5);
    const first = identified(identities, newKvRequest());
    const second = identified(identities, newKvRequest());
    expect(first).toEqual({ client: 5, sequence: 1, stamp: 9, isRetry: false });
    expect(second).toEqual({ client: 5, sequence: 2, stamp: 9, isRetry: false });
    expect(first !== undefined && identities.isOwn(first)).toBe(true);
  });

  it('leaves the name that a client gave', () => {
    const identities = new WriteIdentities(5);
    const given = { client: 7, sequence: 3, stamp: timestamp(2), isRetry: true };
    expect(identified(identities, { ...newKvRequest(), requestId: given })).toBe(given);
    expect(identities.isOwn(given)).toBe(false);
  });

  it('is for all writes but the steps of transactions, which are told apart by what they say', () => {
    const named = Object.values(KvOp).filter(hasIdentity);
    const { put, compareAndSet, increment, deleteRange, expire, execute } = KvOp;
    expect(named).toEqual([put, KvOp.delete, compareAndSet, increment, deleteRange, expire, execute]);
  });
});
