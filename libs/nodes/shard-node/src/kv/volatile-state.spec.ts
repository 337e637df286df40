import { describe, expect, it } from '@jest/globals';
import { RowKind, timestamp } from '@cairn/base';
import {
  CommandOutcome,
  encodeVersionToken,
  FOUND_VALUE_BYTES_MAX,
  OutcomeKind,
  REQUEST_WINDOW_COMMANDS_MAX,
  REQUEST_WINDOW_DETAIL_BYTES_MAX,
  RequestWindow,
  setFailedCompare,
} from '@cairn/mvcc';
import { VOLATILE_STATE_BYTES_MAX } from '@cairn/store';

import { decodeVolatileState, encodeVolatileState } from './volatile-state.js';

const decode = (hex: string): ReturnType<typeof decodeVolatileState> =>
  decodeVolatileState(Buffer.from(hex, 'hex'));

describe('the state of a key range that is not rows', () => {
  it('has the bytes that are written down', () => {
    const state = { window: undefined, readableSince: timestamp(2 ** 32 + 5) };
    expect(encodeVolatileState(state).toString('hex')).toBe('02' + '01' + '08000000' + '0500000001000000');
    expect(decodeVolatileState(encodeVolatileState(state))).toEqual(state);
    expect(decode('')).toEqual({ window: undefined, readableSince: 0 });
  });

  it('has what was remembered of commands, in a section of its own', () => {
    const window = new RequestWindow({ completeSince: timestamp(7) });
    window.append(
      Object.assign(new CommandOutcome(), { client: 3, requestSequence: 4, timestamp: timestamp(9) }),
    );
    const bytes = encodeVolatileState({ window, readableSince: timestamp(6) });
    // The window: its format, complete since, newest, one entry; then column by column.
    const columns = '0000000000000840' + '0000000000001040' + '0000000000002240' + '00000000' + '01' + '00';
    const remembered = '01' + '0700000000000000' + '0900000000000000' + '01000000' + columns;
    expect(bytes.toString('hex')).toBe(
      '02' + '01' + '08000000' + '0600000000000000' + '02' + '33000000' + remembered,
    );
    const decoded = decodeVolatileState(bytes);
    expect(decoded.readableSince).toBe(6);
    expect(decoded.window?.lookup(3, 4)?.timestamp).toBe(9);
    expect(decoded.window?.completeSince).toBe(7);
  });

  it('fits into a snapshot with all the outcomes that are ever remembered, and the longest of them', () => {
    const window = new RequestWindow();
    const outcome = new CommandOutcome();
    Object.assign(outcome, { client: 2 ** 48 - 1, kind: OutcomeKind.increment, timestamp: timestamp(9) });
    outcome.detail = Buffer.from('1');
    const count = REQUEST_WINDOW_COMMANDS_MAX;
    const detailed = Math.floor(REQUEST_WINDOW_DETAIL_BYTES_MAX / (FOUND_VALUE_BYTES_MAX + 12 + 64));
    for (let at = 0; at < count; at += 1) {
      outcome.requestSequence = at;
      if (at === count - detailed) {
        const token = encodeVersionToken(timestamp(9), 1);
        setFailedCompare(outcome, { token, value: Buffer.alloc(FOUND_VALUE_BYTES_MAX), kind: RowKind.bytes });
      }
      window.append(outcome);
    }
    expect([window.length, window.detailBytes > REQUEST_WINDOW_DETAIL_BYTES_MAX * 0.99]).toEqual([
      count,
      true,
    ]);
    const bytes = encodeVolatileState({ window, readableSince: timestamp(1) });
    expect(bytes.length).toBeGreaterThan(VOLATILE_STATE_BYTES_MAX * 0.75);
    expect(bytes.length).toBeLessThan(VOLATILE_STATE_BYTES_MAX);
  });

  it('is refused cut short, and with what only a later release knows', () => {
    expect(() => decode('02' + '01' + '08000000' + '0500')).toThrow(
      expect.objectContaining({ code: 'CORRUPTION' }),
    );
    for (const newer of ['03', '02' + '03' + '00000000']) {
      expect(() => decode(newer)).toThrow(expect.objectContaining({ code: 'FORMAT_TOO_NEW' }));
    }
  });
});
