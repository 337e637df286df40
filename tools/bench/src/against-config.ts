import { booleanField, choiceField, integerField, textField, type ConfigDefinition } from '@cairn/config';
import { z } from 'zod';
import { dataDirField, engineField, experimentWarmupField } from './bench-config.js';
import { PAIRS_MIN } from './paired-ratios.js';

/**
 * What puts, gets and scans are compared with for the rest of this version, so that small losses do not add
 * up: the tree before formats, rooms and words were changed. Moved by a release, never by a change that is
 * slower.
 */
export const REFERENCE_COMMIT = 'a12295da6867db8dae2b5316d4ea5303a3e6b9ac';

/** Works that are compared. */
export const COMPARED_WORKS = ['put', 'get', 'scan'] as const;

/** Flags of `npm run bench -- against`. */
const againstSchema = z.object({
  commit: textField({
    description:
      'What to compare with; a name of git. HEAD compares a checkout without changes with itself, which ' +
      'shows how much of a difference is noise.',
    default: REFERENCE_COMMIT,
  }),
  floorPercent: integerField({
    description: 'Slower than so many percent of the reference, and not by noise, is a failure.',
    default: 98,
    min: 1,
    max: 200,
  }),
  repetitions: integerField({
    description: 'Pairs of runs. More of them see smaller differences.',
    default: 9,
    min: PAIRS_MIN,
    max: 100,
  }),
  outstanding: integerField({
    description: 'Puts and gets that are open at any time.',
    default: 64,
    min: 1,
    max: 10_000,
  }),
  keys: integerField({ description: 'Keys that are loaded.', default: 100_000, min: 1, max: 1_000_000 }),
  duration: integerField({ description: 'Seconds that each run measures.', default: 5, min: 1, max: 3_600 }),
  warmup: experimentWarmupField,
  engine: choiceField({
    description: engineField.description ?? '',
    choices: ['lsm', 'classic-level'],
    default: 'lsm',
  }),
  referenceDir: textField({
    description:
      'Where the reference is built and stays, for the next time. Empty = a temporary directory, which costs ' +
      'an installation of packages and a build.',
    default: '',
  }),
  json: booleanField({ description: 'One JSON object per line instead of the table.', default: false }),
  dataDir: dataDirField,
});

export type AgainstConfig = z.output<typeof againstSchema>;

export const againstConfig: ConfigDefinition<typeof againstSchema> = {
  name: 'npm run bench -- against',
  summary: 'Compares puts, gets and scans of this checkout with those of a reference commit, in turn.',
  schema: againstSchema,
};
