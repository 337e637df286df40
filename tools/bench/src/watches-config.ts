import { booleanField, integerField, textField, type ConfigDefinition } from '@cairn/config';
import { z } from 'zod';
import { dataDirField, engineField, listOf } from './bench-config.js';

/** What is measured of watches. */
export const WATCH_PARTS = ['watch-idle', 'watch-fanout'] as const;

export type WatchPart = (typeof WATCH_PARTS)[number];

/** Of one router. */
const WATCHES_MAX = 20_000;

/** Flags of `npm run bench -- watches`. */
export const watchesSchema = z.object({
  parts: textField({
    description:
      'Parts, separated by commas: watch-idle = what watches cost a router that have nothing to tell, watch-fanout = ' +
      'how long a put of one key takes to all who watch it. Empty = all.',
    default: '',
  }),
  idleWatches: integerField({
    description: 'Watches of the part watch-idle, each of a key of its own.',
    default: 10_000,
    min: 1,
    max: WATCHES_MAX,
  }),
  idleSeconds: integerField({
    description: 'How long they are watched.',
    default: 20,
    min: 1,
    max: 3_600,
  }),
  watchers: integerField({
    description: 'Watches of the part watch-fanout, all of one key.',
    default: 1_000,
    min: 1,
    max: WATCHES_MAX,
  }),
  puts: integerField({
    description: 'Puts of the part watch-fanout, one after the other.',
    default: 100,
    min: 1,
    max: 100_000,
  }),
  engine: engineField,
  json: booleanField({ description: 'One JSON object per part instead of the table.', default: false }),
  dataDir: dataDirField,
});

export type WatchesConfig = z.output<typeof watchesSchema>;

function isPart(name: string): name is WatchPart {
  return WATCH_PARTS.some((part) => part === name);
}

/** In the order in which they are measured. */
export function watchPartsOf({ parts }: Pick<WatchesConfig, 'parts'>): readonly WatchPart[] {
  const named = listOf(parts);
  return named.length === 0 ? WATCH_PARTS : WATCH_PARTS.filter((part) => named.includes(part));
}

/** One sentence per mistake. */
export function checkWatches({ parts }: Pick<WatchesConfig, 'parts'>): string[] {
  const unknown = listOf(parts).filter((name) => !isPart(name));
  return unknown.map((name) => `parts names ${JSON.stringify(name)}: there are ${WATCH_PARTS.join(', ')}.`);
}

export const watchesConfig: ConfigDefinition<typeof watchesSchema> = {
  name: 'npm run bench -- watches',
  summary: 'Measures what many watches cost a router, and how soon they are told.',
  schema: watchesSchema,
  check: checkWatches,
};
