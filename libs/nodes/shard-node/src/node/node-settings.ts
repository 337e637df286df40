import { CairnError } from '@cairn/base';
import { readSetting } from '@cairn/metadata';
import type { HeartbeatResponse } from '@cairn/wire/gen/cairn/internal/v1/metadata.js';

import type { SizeLimits } from '../kv/request-checks.js';
import type { SplitSizes } from './range-splitter.js';

/** The cluster's settings that a shard node goes by. */
export interface NodeSettings extends SplitSizes {
  /** Old versions stay at least so long. */
  readonly gcLifeMs: number;
  readonly replicationFactor: number;
  readonly sizes: SizeLimits;
}

/** @throws CairnError when the metadata service says what cannot be: it is not followed. */
export function nodeSettingsOf(settings: HeartbeatResponse['settings']): NodeSettings {
  const known = {
    splitBytes: readSetting(settings, 'range.split_bytes'),
    targetBytes: readSetting(settings, 'range.target_bytes'),
    gcLifeMs: readSetting(settings, 'gc.life_seconds') * 1_000,
    replicationFactor: readSetting(settings, 'replication.factor'),
    sizes: {
      keyBytesMax: readSetting(settings, 'key.max_bytes'),
      valueBytesMax: readSetting(settings, 'value.max_bytes'),
    },
  };
  if (known.targetBytes < known.splitBytes) return known;
  throw new CairnError(
    'INVALID_ARGUMENT',
    `range.target_bytes (${known.targetBytes}) is not below range.split_bytes (${known.splitBytes})`,
  );
}
