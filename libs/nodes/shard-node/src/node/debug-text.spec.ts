import { describe, expect, it } from '@jest/globals';
import { rangeId } from '@cairn/base';
import type { Store } from '@cairn/store';

import { nodeDebugText } from './debug-text.js';

const RANGE = rangeId(7);

describe('the debug text of a range', () => {
  const store = (replica: object | undefined): Store =>
    ({ replica: (id: number) => (id === RANGE ? replica : undefined) }) as unknown as Store;
  const replica = { toString: () => 'replica 1 of range 7' };

  it('shows the replica and its machine', () => {
    const machines = new Map([[RANGE, { toString: () => 'range 7 [61, 62)' }]]);
    expect(nodeDebugText(store(replica), machines, RANGE)).toBe('replica 1 of range 7\nrange 7 [61, 62)');
  });

  it('says when no machine is open', () => {
    expect(nodeDebugText(store(replica), new Map(), RANGE)).toContain('its state machine is not open');
  });

  it('is refused where there is no replica', () => {
    expect(() => nodeDebugText(store(undefined), new Map(), RANGE)).toThrow(
      expect.objectContaining({ code: 'FAILED_PRECONDITION' }),
    );
  });
});
