import { describe, expect, it } from '@jest/globals';
import { CairnError } from '@cairn/base';
import { routerConfig } from '@cairn/config';

import { checkSettings, listSettings, readSetting, settingOf, type SettingName } from './settings.js';

const NONE = new Map<string, string>();

/** The normal form of one change. */
function checkSetting(stored: ReadonlyMap<string, string>, name: string, value: string): string | undefined {
  return checkSettings(stored, [{ name, value }])[0]?.value;
}

function isAllowed(name: string, value: number): boolean {
  try {
    checkSetting(NONE, name, String(value));
    return true;
  } catch (error) {
    if (CairnError.is(error)) return false;
    throw error;
  }
}

describe('settings', () => {
  it.each([
    ['range.split_bytes', '512 MiB', String(512 * 2 ** 20)],
    ['range.split_bytes', '536870912', '536870912'],
    ['gc.life_seconds', '2h', '7200'],
    ['replication.factor', '5', '5'],
    ['timestamp.clock_jump_max_milliseconds', '7d', String(7 * 86_400_000)],
    ['key.max_bytes', '', undefined],
  ])('%s takes %j', (name, text, expected) => {
    expect(checkSetting(NONE, name, text)).toBe(expected);
  });

  it.each([
    ['replication.factor', '9', 'from 1 to 7'],
    ['replication.factor', '3 MiB', 'from 1 to 7'],
    ['gc.life_seconds', 'long', 'from 10 to 2592000'],
    ['value.max_bytes', '-1', 'KiB, MiB, GiB'],
    ['value.max_bytes', ' ', 'value.max_bytes cannot be " "'],
    ['value.max_bytes', '1.5MiB', 'from 1024 to 8388608'],
    ['range.unknown', '1', 'There is no setting range.unknown'],
    ['range.target_bytes', '256MiB', 'must be below range.split_bytes'],
    ['range.split_bytes', '1 MiB', 'must be below range.split_bytes'],
    ['toString', '1', 'There is no setting'],
  ])('%s refuses %j and says what is allowed', (name, text, sentence) => {
    expect(() => checkSetting(NONE, name, text)).toThrow(sentence);
  });

  it.each([
    ['key.max_bytes', 'keyBytesMax'],
    ['value.max_bytes', 'valueBytesMax'],
  ] as const)('allows for %s what a router allows for %s, until it has heard of it', (name, flag) => {
    const allows = (bytes: number): boolean[] => [
      isAllowed(name, bytes),
      routerConfig.schema.shape[flag].safeParse(bytes).success,
    ];
    const ends = [16, 63, 64, 1_023, 1_024, 32_768, 32_769, 2 ** 23, 2 ** 23 + 1, 2 ** 25];
    for (const bytes of ends) expect([bytes, new Set(allows(bytes)).size]).toEqual([bytes, 1]);
  });

  it('takes both ends of the range of each, and nothing beyond them, where it is put and where it is heard', () => {
    for (const { name, description } of listSettings(NONE)) {
      const [, low = '', high = ''] = /from (\d+) to (\d+)/.exec(description) ?? [];
      // The other one of the pair that depends on each other is out of the way.
      const room = new Map([
        ['range.split_bytes', String(2 ** 30)],
        ['range.target_bytes', String(32 * 1024)],
      ]);
      const hear = (value: string): number =>
        readSetting([{ name, value, description: '', isDefault: false }], name as SettingName);
      for (const end of [low, high]) {
        expect(checkSetting(room, name, end)).toBe(end);
        expect(hear(end)).toBe(Number(end));
      }
      for (const beyond of [String(Number(low) - 1), String(Number(high) + 1), '', 'NaN', '1e3.5']) {
        if (beyond !== '') expect(() => checkSetting(room, name, beyond)).toThrow('it must be');
        expect(() => hear(beyond)).toThrow('which is not from');
      }
    }
  });

  it('checks a default that is put back against the others', () => {
    const stored = new Map([
      ['range.split_bytes', String(2 ** 20)],
      ['range.target_bytes', String(2 ** 19)],
    ]);
    expect(() => checkSetting(stored, 'range.target_bytes', '')).toThrow('must be below');
    expect(settingOf(stored, 'range.target_bytes')).toBe(2 ** 19);
  });

  it('judges changes together: the order does not matter, and one that is wrong refuses all', () => {
    const both = [
      { name: 'range.split_bytes', value: '64MiB' },
      { name: 'range.target_bytes', value: '32MiB' },
    ];
    const normal = [
      { name: 'range.split_bytes', value: String(64 * 2 ** 20) },
      { name: 'range.target_bytes', value: String(32 * 2 ** 20) },
    ];
    expect(checkSettings(NONE, both)).toEqual(normal);
    expect(checkSettings(NONE, both.toReversed())).toEqual(normal.toReversed());
    const wrong: [{ name: string; value: string }, string][] = [
      [{ name: 'value.max_bytes', value: '1' }, 'value.max_bytes cannot be "1"'],
      [{ name: 'range.unknown', value: '1' }, 'There is no setting range.unknown'],
      [{ name: 'range.split_bytes', value: '65MiB' }, 'range.split_bytes is given two values at a time'],
    ];
    for (const [change, sentence] of wrong) {
      expect(() => checkSettings(NONE, [...both, change])).toThrow(
        expect.objectContaining({
          code: 'INVALID_ARGUMENT',
          details: { field: change.name },
          message: expect.stringMatching(new RegExp(`${sentence}.* None of the 3 settings was changed`)),
        }),
      );
    }
    const many = Array.from({ length: 101 }, () => ({ name: 'gc.life_seconds', value: '60' }));
    expect(() => checkSettings(NONE, many)).toThrow('at most 100 settings are changed at a time, not 101');
  });

  it('lists all with the values in force; every default is allowed', () => {
    const list = listSettings(new Map([['gc.life_seconds', '60']]));
    expect(list.find((setting) => setting.name === 'gc.life_seconds')).toMatchObject({
      value: '60',
      isDefault: false,
    });
    expect(list.map((setting) => setting.name)).toEqual(list.map((setting) => setting.name).toSorted());
    for (const { name, value } of listSettings(NONE)) expect(checkSetting(NONE, name, value)).toBe(value);
  });
});
