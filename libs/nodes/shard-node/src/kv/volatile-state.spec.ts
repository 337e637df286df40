import { describe, expect, it } from '@jest/globals';
import { timestamp } from '@cairn/base';
import { CommandOutcome, RequestWindow } from '@cairn/mvcc';

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

  it('is refused cut short, and with what only a later release knows', () => {
    expect(() => decode('02' + '01' + '08000000' + '0500')).toThrow(
      expect.objectContaining({ code: 'CORRUPTION' }),
    );
    for (const newer of ['03', '02' + '03' + '00000000']) {
      expect(() => decode(newer)).toThrow(expect.objectContaining({ code: 'FORMAT_TOO_NEW' }));
    }
  });
});
