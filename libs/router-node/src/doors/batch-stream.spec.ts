import { timestamp, TIMESTAMP_LOGICAL_STEPS } from '@cairn/base';
import type { Timer } from '@cairn/ports';
import { describe, expect, it } from '@jest/globals';

import type { BatchCall } from '../calls.js';
import { BatchStream } from './batch-stream.js';
import { Callers } from './callers.js';
import type { DoorContext } from './door-context.js';

describe('a batch stream that has nothing to answer', () => {
  it('tells its client the time every second, as long as that moves and the client takes it', () => {
    const told: number[] = [];
    const listeners = new Map<string, () => void>();
    let isTaken = true;
    let second = (): void => undefined;
    const router = { latestTimestamp: timestamp(5) };
    const call = {
      write: (message: { timestamp: number }) => {
        told.push(message.timestamp);
        return isTaken;
      },
      on: (event: string, listener: () => void) => listeners.set(event, listener),
      getPeer: () => 'peer',
      pause: () => undefined,
      resume: () => undefined,
    };
    const clock = {
      setTimer: (_delayMs: number, callback: () => void): Timer => {
        second = callback;
        return {
          cancel: () => {
            second = () => undefined;
          },
        };
      },
    };
    const bounds = {
      ...{ streamedOpsMax: 100, openOpsMax: 100, openBytesMax: 100 },
      ...{ scanBytesMax: 100, answerBytesMax: 100 },
    };
    const context = { router, clock, callers: new Callers(bounds) } as unknown as DoorContext;
    const stream = new BatchStream(call as unknown as BatchCall, context, undefined);
    expect(told).toEqual([5]);
    second();
    expect(told).toEqual([5]);
    const later = timestamp(5 + 2_000 * TIMESTAMP_LOGICAL_STEPS);
    router.latestTimestamp = later;
    isTaken = false;
    second();
    expect(told).toEqual([5, later]);
    router.latestTimestamp = timestamp(later + 2_000 * TIMESTAMP_LOGICAL_STEPS);
    second();
    expect(told).toEqual([5, later]);
    listeners.get('drain')?.();
    second();
    expect(told).toHaveLength(3);
    stream.close();
    router.latestTimestamp = timestamp(later + 9_000 * TIMESTAMP_LOGICAL_STEPS);
    second();
    expect(told).toHaveLength(3);
  });
});
