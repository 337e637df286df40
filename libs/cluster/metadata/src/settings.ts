import {
  CairnError,
  KEY_BYTES_LIMIT_MAX,
  KEY_BYTES_LIMIT_MIN,
  VALUE_BYTES_LIMIT_MAX,
  VALUE_BYTES_LIMIT_MIN,
} from '@cairn/base';

import type { SettingChange, SettingValue } from './wire-binding.js';

interface SettingDefinition {
  readonly unit: 'bytes' | 'seconds' | 'milliseconds' | 'count';
  readonly default: number;
  readonly min: number;
  readonly max: number;
  readonly description: string;
}

const KIB = 1024;
const MIB = 1024 * KIB;

/** Every setting of a cluster. Names are kept for ever; whole numbers only. */
const DEFINITIONS = {
  'range.split_bytes': {
    unit: 'bytes',
    default: 256 * MIB,
    min: 64 * KIB,
    max: 1024 * MIB,
    description: 'A range that has grown past this is split. Must be above range.target_bytes.',
  },
  'range.target_bytes': {
    unit: 'bytes',
    default: 192 * MIB,
    min: 32 * KIB,
    max: 512 * MIB,
    description: 'About the size of the parts a range is split into. Must be below range.split_bytes.',
  },
  'key.max_bytes': {
    unit: 'bytes',
    default: 4 * KIB,
    min: KEY_BYTES_LIMIT_MIN,
    max: KEY_BYTES_LIMIT_MAX,
    description: 'Longest key that is accepted. Keys stored before it was lowered stay readable.',
  },
  'value.max_bytes': {
    unit: 'bytes',
    default: MIB,
    min: VALUE_BYTES_LIMIT_MIN,
    max: VALUE_BYTES_LIMIT_MAX,
    description: 'Longest value that is accepted. Values stored before it was lowered stay readable.',
  },
  'replication.factor': {
    unit: 'count',
    default: 3,
    min: 1,
    max: 7,
    description:
      'Replicas that each range should have: the first range gets them, and the status names ranges with fewer. ' +
      'Ranges that are there get no more and no fewer when it is changed.',
  },
  'gc.life_seconds': {
    unit: 'seconds',
    default: 600,
    min: 10,
    max: 30 * 24 * 3600,
    description: 'Old versions of a key stay readable at least this long.',
  },
  'gc.hold_max_seconds': {
    unit: 'seconds',
    default: 24 * 3600,
    min: 60,
    max: 30 * 24 * 3600,
    description:
      'No hold keeps old versions for longer than this: one that lies further back holds nothing any more, and none is ' +
      'made for longer.',
  },
  'transaction.max_seconds': {
    unit: 'seconds',
    default: 3600,
    min: 10,
    max: 24 * 3600,
    description: 'No running transaction keeps old versions for longer than this.',
  },
  'cluster.version_hold': {
    unit: 'count',
    default: 0,
    min: 0,
    max: 1_000_000,
    description:
      'While this is not 0 the cluster version rises no further than to it: nodes can go back to the release before ' +
      'until it has risen. With 0 it rises by itself as soon as every node runs a release that knows more.',
  },
  'timestamp.clock_jump_max_milliseconds': {
    unit: 'milliseconds',
    default: 5_000,
    min: 1_000,
    max: 366 * 24 * 3_600_000,
    description:
      'Timestamps follow wall clocks at once as far as this; further, in either direction, only when most ' +
      'members of the metadata service show the same time. Raise it for a while to let them follow clocks that ' +
      'differ.',
  },
} as const satisfies Readonly<Record<string, SettingDefinition>>;

export type SettingName = keyof typeof DEFINITIONS;

const NAMES = Object.keys(DEFINITIONS) as SettingName[];

function definitionOf(name: SettingName): SettingDefinition {
  return DEFINITIONS[name];
}

function isSettingName(name: string): name is SettingName {
  return Object.hasOwn(DEFINITIONS, name);
}

const FACTORS: Readonly<Record<SettingDefinition['unit'], Readonly<Record<string, number>>>> = {
  bytes: { '': 1, KiB: KIB, MiB: MIB, GiB: 1024 * MIB },
  seconds: { '': 1, s: 1, m: 60, h: 3600, d: 86_400 },
  milliseconds: { '': 1, ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 },
  count: { '': 1 },
};

/** A whole number with one of the unit's suffixes; undefined when it is not one. */
function parseNumber(text: string, unit: SettingDefinition['unit']): number | undefined {
  const match = /^(\d{1,16}) ?([A-Za-z]*)$/.exec(text.trim());
  const factor = match === null ? undefined : FACTORS[unit][match[2] ?? ''];
  if (match === null || factor === undefined) return undefined;
  const value = Number(match[1]) * factor;
  return Number.isSafeInteger(value) ? value : undefined;
}

function allowedText({ unit, min, max }: SettingDefinition): string {
  const suffixes = Object.keys(FACTORS[unit]).filter((suffix) => suffix !== '');
  const noun = unit === 'count' ? 'a whole number' : `a whole number of ${unit}`;
  const hint = suffixes.length === 0 ? '' : `, also written with ${suffixes.join(', ')}`;
  return `${noun} from ${min} to ${max}${hint}`;
}

/** Value in force; `stored` holds what was put, in its normal form. */
export function settingOf(stored: ReadonlyMap<string, string>, name: SettingName): number {
  const text = stored.get(name);
  return text === undefined ? definitionOf(name).default : Number(text);
}

/** Changes of one command. */
const SETTING_CHANGES_MAX = 100;

/** A setting in its normal form; undefined puts the default back. */
export interface NormalSetting {
  readonly name: SettingName;
  readonly value: string | undefined;
}

/**
 * Checks new values and answers their normal forms; an empty text, and no other, puts the default back. They
 * are judged together: what is wrong with one of them refuses all.
 *
 * @throws CairnError INVALID_ARGUMENT that names the setting and says what is allowed.
 */
export function checkSettings(
  stored: ReadonlyMap<string, string>,
  changes: readonly SettingChange[],
): NormalSetting[] {
  if (changes.length > SETTING_CHANGES_MAX) {
    const message = `at most ${SETTING_CHANGES_MAX} settings are changed at a time, not ${changes.length}`;
    throw new CairnError('INVALID_ARGUMENT', message);
  }
  const refuse = (name: string, message: string): CairnError => refusal(name, message, changes.length);
  const after = new Map(stored);
  const normal = new Map<SettingName, string | undefined>();
  for (const { name, value: text } of changes) {
    if (!isSettingName(name)) {
      throw refuse(name, `There is no setting ${name.slice(0, 100)}. Settings are: ${NAMES.join(', ')}.`);
    }
    if (normal.has(name)) throw refuse(name, `${name} is given two values at a time: give it one.`);
    const definition = definitionOf(name);
    const value = text === '' ? definition.default : parseNumber(text, definition.unit);
    if (value === undefined || value < definition.min || value > definition.max) {
      const allowed = allowedText(definition);
      throw refuse(name, `${name} cannot be "${text.slice(0, 100)}": it must be ${allowed}.`);
    }
    normal.set(name, text === '' ? undefined : String(value));
    after.set(name, String(value));
  }
  checkRelations(after, refuse);
  return [...normal].map(([name, value]) => ({ name, value }));
}

function refusal(name: string, message: string, changes: number): CairnError {
  const others = changes > 1 ? ` None of the ${changes} settings was changed.` : '';
  return new CairnError('INVALID_ARGUMENT', message + others, { details: { field: name.slice(0, 100) } });
}

function checkRelations(
  stored: ReadonlyMap<string, string>,
  refuse: (name: string, message: string) => CairnError,
): void {
  const target = settingOf(stored, 'range.target_bytes');
  const split = settingOf(stored, 'range.split_bytes');
  if (target < split) return;
  throw refuse(
    'range.target_bytes',
    `range.target_bytes (${target}) must be below range.split_bytes (${split}): parts must not need a split at ` +
      'once. Both can be changed together.',
  );
}

/**
 * Of a list that the metadata service sent, for nodes that go by it.
 *
 * @throws CairnError INVALID_ARGUMENT when it is missing or out of its range: such a list is not followed.
 */
export function readSetting(settings: readonly SettingValue[], name: SettingName): number {
  const { min, max } = definitionOf(name);
  const text = settings.find((setting) => setting.name === name)?.value ?? '';
  const value = text === '' ? NaN : Number(text);
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
  throw new CairnError(
    'INVALID_ARGUMENT',
    `the metadata service says ${name} is "${text.slice(0, 100)}", which is not from ${min} to ${max}`,
  );
}

/** All settings with the values in force, in the order of their names. */
export function listSettings(stored: ReadonlyMap<string, string>): SettingValue[] {
  return NAMES.toSorted().map((name) => ({
    name,
    value: String(settingOf(stored, name)),
    description: `${definitionOf(name).description} Allowed: ${allowedText(definitionOf(name))}.`,
    isDefault: !stored.has(name),
  }));
}
