import { VERSION_TOKEN_BYTES } from '@cairn/codec';
import { RECORD_SEQUENCE_AT } from './record.js';
import { copyTimestampOf } from './version-key.js';

export {
  compareVersionTokens,
  decodeVersionToken,
  encodeVersionToken,
  VERSION_TOKEN_BYTES,
  writeVersionToken,
  type VersionToken,
} from '@cairn/codec';

const TIMESTAMP_BYTES = 8;
const SEQUENCE_BYTES = VERSION_TOKEN_BYTES - TIMESTAMP_BYTES;

/**
 * Writes the token of an engine row at `at`, from where the row has its timestamp and sequence. Both key and
 * value must have been looked at before: nothing is checked here.
 */
export function copyVersionToken(engineKey: Buffer, record: Buffer, target: Buffer, at: number): void {
  copyTimestampOf(engineKey, target, at);
  for (let byte = 0; byte < SEQUENCE_BYTES; byte += 1) {
    target[at + TIMESTAMP_BYTES + byte] = record[RECORD_SEQUENCE_AT + byte] as number;
  }
}
