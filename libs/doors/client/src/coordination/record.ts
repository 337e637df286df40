import { CairnError } from '@cairn/base';
import { invalidArgument } from '../bytes.js';

/** Bytes of a name in UTF-8, so that a key with its prefix and its ending stays short. */
const NAME_BYTES_MAX = 512;
/** Characters of what a holder says of itself. */
export const VALUE_CHARACTERS_MAX = 16_384;
/** Below this, heartbeats would be a load and pauses of a process the rule. */
const TTL_MS_MIN = 500;
const TTL_MS_MAX = 24 * 3_600_000;
export const TTL_MS_DEFAULT = 10_000;
const WAIT_MS_DEFAULT = 10_000;

/**
 * The keys of one lock or election. They are neighbours, so that one range has both unless it is cut there.
 */
export interface LeaseKeys {
  /** There while somebody holds it, with a time to live. */
  readonly holder: string;
  /** The fencing token of the last acquisition, in decimal digits; it stays. */
  readonly token: string;
}

/** What the row of a holder says. */
export interface HolderRecord {
  /** Of one call that acquires; nobody else has the same. */
  readonly session: string;
  /** Which sending of that call wrote the row: each writes it once at most. */
  readonly attempt: number;
  /** What the holder says of itself. */
  readonly value: string;
}

/**
 * A name is text of 1 to 512 bytes without control characters and without `/`, which ends it in keys.
 *
 * @throws CairnError `INVALID_ARGUMENT`
 */
export function leaseKeys(kind: 'lock' | 'election', name: string): LeaseKeys {
  const bytes = Buffer.byteLength(name);
  if (bytes < 1 || bytes > NAME_BYTES_MAX || !name.isWellFormed() || /[/\p{Cc}]/u.test(name)) {
    throw invalidArgument(
      'name',
      `name must be text of 1 to ${NAME_BYTES_MAX} bytes without "/" and control characters`,
    );
  }
  return { holder: `${kind}/${name}/holder`, token: `${kind}/${name}/token` };
}

/** @throws CairnError `INVALID_ARGUMENT` */
export function checkedValue(value: string): string {
  if (value.length <= VALUE_CHARACTERS_MAX && value.isWellFormed()) return value;
  throw invalidArgument('value', `value must be text of at most ${VALUE_CHARACTERS_MAX} characters`);
}

/** @throws CairnError `INVALID_ARGUMENT` */
export function checkedTtl(ttlMs = TTL_MS_DEFAULT): number {
  if (Number.isSafeInteger(ttlMs) && ttlMs >= TTL_MS_MIN && ttlMs <= TTL_MS_MAX) return ttlMs;
  throw invalidArgument(
    'ttlMs',
    `ttlMs must be whole milliseconds from ${TTL_MS_MIN} to ${TTL_MS_MAX}, not ${ttlMs}`,
  );
}

/** @throws CairnError `INVALID_ARGUMENT` */
export function checkedWait(waitMs = WAIT_MS_DEFAULT): number {
  if (waitMs >= 0) return waitMs;
  throw invalidArgument('waitMs', `waitMs must be milliseconds from 0, or Infinity, not ${waitMs}`);
}

export function encodeRecord({ session, attempt, value }: HolderRecord): Buffer {
  return Buffer.from(JSON.stringify({ session, attempt, value }));
}

/** @throws CairnError `FAILED_PRECONDITION` when somebody else has written something else there. */
export function decodeRecord(bytes: Buffer): HolderRecord {
  const fields = parsed(bytes);
  const { session, attempt, value } = fields;
  if (typeof session === 'string' && typeof attempt === 'number' && typeof value === 'string') {
    return { session, attempt, value };
  }
  throw foreign();
}

/** Whether two rows say the same; undefined = there is none. */
export function isSameRecord(a: HolderRecord | undefined, b: HolderRecord | undefined): boolean {
  return a?.session === b?.session && a?.attempt === b?.attempt && a?.value === b?.value;
}

/** @throws CairnError `FAILED_PRECONDITION` when it is no number. */
export function decodeToken(bytes: Buffer): bigint {
  const text = bytes.toString('latin1');
  if (/^\d{1,19}$/.test(text)) return BigInt(text);
  throw foreign();
}

function parsed(bytes: Buffer): Readonly<Record<string, unknown>> {
  try {
    const found: unknown = JSON.parse(bytes.toString());
    if (typeof found === 'object' && found !== null) return found as Readonly<Record<string, unknown>>;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw foreign();
}

function foreign(): CairnError {
  return new CairnError(
    'FAILED_PRECONDITION',
    'the rows of this name were not written by locks and elections of this client: use another name',
  );
}
