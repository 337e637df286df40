import { ConditionKind, type Condition } from './txn-messages.js';

/** What a condition looks at of a live row. */
export interface ConditionRow {
  readonly value: Uint8Array;
  /** Version token. */
  readonly version: Uint8Array;
}

/** Whether conditions of the kind compare bytes, which a row of another kind has none of: WRONG_KIND. */
export function comparesBytes(kind: ConditionKind): boolean {
  return kind === ConditionKind.valueEquals || kind === ConditionKind.versionEquals;
}

/** `live`: the row of the key, one of bytes where those are compared; undefined = there is none. */
export function conditionHolds({ kind, operand }: Condition, live: ConditionRow | undefined): boolean {
  switch (kind) {
    case ConditionKind.exists:
      return live !== undefined;
    case ConditionKind.absent:
      return live === undefined;
    case ConditionKind.valueEquals:
      return live !== undefined && Buffer.compare(live.value, operand) === 0;
    case ConditionKind.versionEquals:
      return live !== undefined && Buffer.compare(live.version, operand) === 0;
  }
}
