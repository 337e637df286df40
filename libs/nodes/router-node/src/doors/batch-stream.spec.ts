import { InvariantError, timestamp, TIMESTAMP_LOGICAL_STEPS } from '@cairn/base';
import type { Timer } from '@cairn/ports';
import { describe, expect, it, jest } from '@jest/globals';

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
    const context = { router, clock, callers: new Callers(bounds, () => 0) } as unknown as DoorContext;
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

describe('a batch stream whose router contradicts itself', () => {
  it('answers nothing: the assertion is thrown where it ends the process', () => {
    const uncaught: (() => void)[] = [];
    const later = jest.spyOn(globalThis, 'queueMicrotask').mockImplementation((callback) => {
      uncaught.push(callback);
    });
    const broken = new InvariantError('what cannot happen');
    const listeners = new Map<string, (message?: unknown) => void>();
    const written: unknown[] = [];
    const call = {
      write: (message: unknown) => written.push(message) > 0,
      on: (event: string, listener: () => void) => listeners.set(event, listener),
      getPeer: () => 'peer',
    };
    const context = {
      router: {
        latestTimestamp: timestamp(5),
        execute: () => {
          throw broken;
        },
      },
      clock: {
        nowMs: () => 0,
        setTimer: () => ({ cancel: () => undefined }),
        defer: (callback: () => void) => callback(),
      },
      callers: new Callers(
        {
          ...{ streamedOpsMax: 100, openOpsMax: 100, openBytesMax: 100 },
          ...{ scanBytesMax: 100, answerBytesMax: 100 },
        },
        () => 0,
      ),
      trace: () => undefined,
    } as unknown as DoorContext;
    const stream = new BatchStream(call as unknown as BatchCall, context, undefined);
    const get = { key: Buffer.from('k'), consistency: 0, timestamp: 0 };
    const operations = [{ call: 1, timeoutMs: 0, operation: { $case: 'get', value: get } }];
    expect(() => listeners.get('data')?.({ operations })).toThrow(broken);
    expect(uncaught).toHaveLength(1);
    expect(uncaught[0]).toThrow(broken);
    // The hello, and no answer.
    expect(written).toHaveLength(1);
    stream.close();
    later.mockRestore();
  });
});
