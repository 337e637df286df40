import { expect, it } from '@jest/globals';

import { comparesBytes, conditionHolds } from './conditions.js';
import { ConditionKind } from './txn-messages.js';

it('conditions ask whether there is a row, and what it holds', () => {
  const row = { value: Buffer.from('v'), version: Buffer.from('t') };
  const holds = (kind: ConditionKind, operand: string, live?: typeof row): boolean =>
    conditionHolds({ key: Buffer.from('k'), kind, operand: Buffer.from(operand) }, live);
  expect([holds(ConditionKind.exists, '', row), holds(ConditionKind.exists, '')]).toEqual([true, false]);
  expect([holds(ConditionKind.absent, '', row), holds(ConditionKind.absent, '')]).toEqual([false, true]);
  for (const [kind, operand] of [
    [ConditionKind.valueEquals, 'v'],
    [ConditionKind.versionEquals, 't'],
  ] as const) {
    expect([holds(kind, operand, row), holds(kind, 'x', row), holds(kind, operand)]).toEqual([
      ...[true, false, false],
    ]);
    expect(comparesBytes(kind)).toBe(true);
  }
  expect([comparesBytes(ConditionKind.exists), comparesBytes(ConditionKind.absent)]).toEqual([false, false]);
});
