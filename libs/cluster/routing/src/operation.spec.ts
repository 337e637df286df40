import { describe, expect, it } from '@jest/globals';
import type { Clock } from '@cairn/ports';
import { SimRng } from '@cairn/runtime-sim';
import { KvOp, newKvRequest, type KvRequest } from '@cairn/wire';

import { AnswersUnderWay } from './answers-under-way.js';
import { BACKOFF } from './backoff.js';
import { LargeReads } from './large-reads.js';
import { LeaderSearch } from './leader-search.js';
import { RoutedOperation } from './operation.js';
import { WaitingRoom } from './waiting-room.js';

const sink = { complete: () => undefined, fail: () => undefined };
const message = Buffer.alloc(1024 * 1024, 'k');

function operation(more: Partial<KvRequest> = {}): RoutedOperation {
  const request = { ...newKvRequest(), op: KvOp.get, key: message.subarray(3, 9), ...more };
  return new RoutedOperation(request, sink, { tag: 1, timeoutMs: 1_000 }, 0);
}

/** What of others it keeps in memory. */
function keptBytes({ request, spanStart, spanEnd }: RoutedOperation): number {
  return Math.max(
    ...[request.key, request.endKey, spanStart, spanEnd].map(({ buffer }) => buffer.byteLength),
  );
}

describe('an operation that waits', () => {
  const clock = { nowMs: () => 0, setTimer: () => ({ cancel: () => undefined }) } as unknown as Clock;

  it.each([
    [
      'for its turn to come again',
      (waiting: RoutedOperation) => {
        new WaitingRoom({ clock, rng: new SimRng(1) }, () => undefined).enter(waiting, BACKOFF.reconnect, 0);
      },
    ],
    [
      'for a leader',
      (waiting: RoutedOperation) => {
        const searches = new LeaderSearch();
        searches.enter(1, operation());
        expect(searches.enter(1, waiting)).toBe(false);
      },
    ],
    [
      'for room for its answer',
      (waiting: RoutedOperation) => {
        new LargeReads(new AnswersUnderWay()).push(waiting, () => true);
      },
    ],
  ])('%s keeps its own bytes, and not the message that it came in', (_what, wait) => {
    const waiting = operation();
    expect(keptBytes(waiting)).toBe(message.length);
    wait(waiting);
    expect(keptBytes(waiting)).toBeLessThanOrEqual(64 * 1024);
    expect(Buffer.from(waiting.spanStart).toString()).toBe('kkkkkk');
  });

  it('keeps the whole of its span, however it was cut when it was sent', () => {
    const scan = operation({ op: KvOp.scan, endKey: message.subarray(0, 20) });
    scan.request.key = Buffer.from('cut');
    scan.request.endKey = Buffer.from('cut, too');
    scan.detach();
    expect(keptBytes(scan)).toBeLessThanOrEqual(64 * 1024);
    expect([scan.spanStart.length, scan.spanEnd.length]).toEqual([6, 20]);
    expect([scan.request.key, scan.request.endKey]).toEqual([scan.spanStart, scan.spanEnd]);
  });
});
