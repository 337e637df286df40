import { NO_BYTES } from '@cairn/base';
import { checkKey, invalidArgument, toBuffer, WIDEST_SIZES, type BytesInput } from './bytes.js';
import { boundsOf, isEmptySpan } from './operations.js';
import type { Span } from './options.js';
import type { WatchRequest } from './wire-binding.js';

/** How long a watch that lost its router looks for another, by default. */
const OUTAGE_MS_MAX = 60_000;
const PROGRESS_MS_MIN = 500;
const PROGRESS_MS_MAX = 60_000;
const PROGRESS_MS_DEFAULT = 5_000;

/** What is watched (a key, a prefix or a span; nothing named = all keys), and from where on. */
export interface WatchOptions extends Span {
  /** One key; without prefix, start and end. */
  readonly key?: BytesInput;
  /**
   * Left out: from now on. A string: the token of a change, behind which it goes on. A number above 0:
   * behind that timestamp, for example that of a snapshot that was read. A number below 0: so many
   * milliseconds ago. A Date: from then on.
   */
  readonly from?: string | number | Date;
  /** Each change tells what it has replaced. */
  readonly withPrevious?: boolean;
  /** Nothing is heard from the router for so long at most; 500 to 60,000, default 5,000. */
  readonly progressMs?: number;
  /**
   * A watch that finds no router for so long rejects with UNAVAILABLE; until then it tries. Its token stays.
   * Default 60,000; Infinity = it tries for ever.
   */
  readonly outageMsMax?: number;
  readonly signal?: AbortSignal;
}

/** Without its beginning. Throws INVALID_ARGUMENT. */
export function watchRequest(options: WatchOptions): WatchRequest {
  const { withPrevious = false, progressMs = PROGRESS_MS_DEFAULT } = options;
  if (!(progressMs >= PROGRESS_MS_MIN && progressMs <= PROGRESS_MS_MAX)) {
    throw invalidArgument(
      'progressMs',
      `progressMs must be ${PROGRESS_MS_MIN} to ${PROGRESS_MS_MAX}, not ${progressMs}`,
    );
  }
  const whole = { withPrevious, progressMs: Math.floor(progressMs), prefix: NO_BYTES, from: undefined };
  if (options.key === undefined) {
    const bounds = boundsOf(options);
    if (isEmptySpan(bounds)) throw invalidArgument('end', 'the span holds no key');
    return { ...whole, ...bounds, key: NO_BYTES };
  }
  if (options.prefix !== undefined || options.start !== undefined || options.end !== undefined)
    throw invalidArgument('key', 'key cannot be combined with prefix, start or end');
  const key = toBuffer(options.key, 'key');
  checkKey(key, WIDEST_SIZES);
  return { ...whole, key, start: NO_BYTES, end: NO_BYTES };
}

/** Throws INVALID_ARGUMENT. */
export function outageMsOf({ outageMsMax = OUTAGE_MS_MAX }: WatchOptions): number {
  if (outageMsMax > 0) return outageMsMax;
  throw invalidArgument('outageMsMax', `outageMsMax must be above 0, not ${outageMsMax}`);
}

/** A token as callers keep it. */
export function tokenTextOf(token: Uint8Array): string {
  return Buffer.from(token.buffer, token.byteOffset, token.byteLength).toString('base64url');
}

/** Throws INVALID_ARGUMENT for what is no text of a token; whether it is one the router tells. */
export function tokenBytesOf(text: string): Buffer {
  const token = Buffer.from(text, 'base64url');
  if (text === '' || tokenTextOf(token) !== text)
    throw invalidArgument('from', 'from is no token: pass one that a change came with');
  return token;
}
