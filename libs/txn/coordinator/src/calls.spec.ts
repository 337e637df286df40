import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import { encodeTxnReply, type TxnReply } from '@cairn/wire';

import { keyText } from './aborts.js';
import { TransactionCalls } from './calls.js';
import { key } from './fake-shards.testing.js';
import { clusterOf, codeOf, type CoordinatorRig } from './rig.testing.js';

async function answering(reply: TxnReply | Buffer): Promise<CoordinatorRig> {
  const rig = await clusterOf([]);
  const value = Buffer.isBuffer(reply) ? reply : encodeTxnReply(reply);
  rig.shards.answer = (_served, response) => ({ ...response, value });
  return rig;
}

describe('a reply that no shard node gives', () => {
  it('is an error of that node, and of a write nobody knows what became', async () => {
    for (const nonsense of [{ type: 'resolved' } as const, Buffer.from('garbled')]) {
      const rig = await answering(nonsense);
      const calls = new TransactionCalls(rig.router);
      const read = calls.send(
        { type: 'batchGet', at: timestamp(0), keys: [key('a')] },
        key('a'),
        rig.times(),
      );
      expect(await rig.settle(codeOf(read))).toBe('INTERNAL');
      const none = timestamp(0);
      const asked = { start: timestamp(1), primary: key('a'), pushTo: none, lockDeadline: none };
      const check = { type: 'check', ...asked } as const;
      expect(await rig.settle(codeOf(calls.send(check, key('a'), rig.times())))).toBe('OUTCOME_UNKNOWN');
    }
  });

  it('has as many rows as there are keys at most, and at least one', async () => {
    for (const count of [0, 2]) {
      const row = { found: false, value: key(''), version: key(''), kind: 0, expiresUnixMs: 0 };
      const rig = await answering({ type: 'rows', rows: new Array<typeof row>(count).fill(row) });
      expect(await codeOf(rig.read(['a']))).toBe('INTERNAL');
    }
  });
});

describe('the key that an abort names', () => {
  it('is text where it is some, in hexadecimal digits otherwise, and not long', () => {
    expect([key('a"b'), Buffer.of(0xff, 0), key('€')].map(keyText)).toEqual(['"a\\"b"', '0xff00', '"€"']);
    expect(keyText(Buffer.alloc(5_000, 'x')).length).toBeLessThan(300);
  });
});
