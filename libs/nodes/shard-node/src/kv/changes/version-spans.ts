import { prefixLengthOf, VERSION_SUFFIX_BYTES } from '@cairn/mvcc';

/** Longer than the suffix of any version key, and above all of them. */
const PAST_VERSIONS_BYTES = VERSION_SUFFIX_BYTES + 1;
const JUST_ABOVE = Buffer.of(0);

/** An engine key above all versions of the key of a version, and below everything else. */
export function pastVersionsOf(versionKey: Buffer): Buffer {
  const prefixLength = prefixLengthOf(versionKey);
  const past = Buffer.alloc(prefixLength + PAST_VERSIONS_BYTES, 0xff);
  versionKey.copy(past, 0, 0, prefixLength);
  return past;
}

/** Where the versions of its key begin that are older than a version. */
export function olderThan(versionKey: Buffer): Buffer {
  return Buffer.concat([versionKey, JUST_ABOVE]);
}
