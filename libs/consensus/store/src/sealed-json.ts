import { CairnError, formatTooNew, isWithin, rangeText, type VersionRange } from '@cairn/base';
import { crc32 } from '@cairn/codec';

/*
 * Small files of a data directory that people may look at: one line of JSON, its format first and a checksum
 * of the fields before it last, in every format that there will be. A reader takes no notice of fields that
 * it does not know: what must not be overlooked gets another format.
 */

type Fields = Readonly<Record<string, unknown>>;

export function sealedJson(fields: { readonly format: number } & Fields): Buffer {
  return Buffer.from(`${JSON.stringify({ ...fields, checksum: checksumOf(fields) })}\n`);
}

/** Of the fields before it, as they are written. */
function checksumOf(fields: object): string {
  return crc32(Buffer.from(JSON.stringify(fields)))
    .toString(16)
    .padStart(8, '0');
}

export interface SealedFile {
  readonly path: string;
  /** What a format is the format of, in sentences: `data directory /data`. */
  readonly what: string;
  readonly formats: VersionRange;
  /** What to do about a file that is damaged, and about one of a format that is no longer read. */
  readonly remedies: { readonly damaged: string; readonly older: string };
}

/**
 * Throws FORMAT_TOO_NEW for what a later release wrote, FAILED_PRECONDITION for an older format than any that
 * is read, CORRUPTION when the file is damaged.
 */
export function readSealedJson(bytes: Buffer, { path, what, formats, remedies }: SealedFile): Fields {
  const details = { path };
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw unreadable(path, String(error), remedies.damaged);
  }
  if (typeof value !== 'object' || value === null) throw unreadable(path, 'not an object', remedies.damaged);
  const { checksum, ...fields } = value as Record<string, unknown>;
  const { format } = fields;
  // The writer's order of the fields is in the text, so what was parsed gives the same bytes again. Before
  // the format is believed: a flipped digit of it is damage.
  if (checksum !== checksumOf(fields))
    throw unreadable(path, 'its checksum does not match', remedies.damaged);
  if (typeof format === 'number' && format > formats.max) {
    throw formatTooNew(`${what} has format ${format}, this release reads ${rangeText(formats)}`, details);
  }
  if (typeof format === 'number' && isWithin(format, formats)) return fields;
  throw new CairnError(
    'FAILED_PRECONDITION',
    `${what} has format ${JSON.stringify(format) ?? 'none'}, this release reads ${rangeText(formats)}: ${remedies.older}`,
    { details },
  );
}

/** For whoever misses a field that the file must have. */
export function unreadable(path: string, why: string, remedy: string): CairnError {
  return new CairnError('CORRUPTION', `${path} cannot be read (${why}): ${remedy}`, { details: { path } });
}
