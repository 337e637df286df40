import { UsageError } from '../exit-codes.js';

/** Turns bytes of a source into text; undefined when they are not text in its encoding. */
export type DecodeText = (bytes: Uint8Array) => string | undefined;

/**
 * The decoder of an encoding by its usual label (utf-8, latin1, windows-1252, shift_jis, ...). Nothing is
 * replaced: what cannot be read exactly is no text.
 *
 * @throws UsageError for an unknown label, and for UTF-16, whose line ends are not single bytes.
 */
export function textDecoderOf(label: string): DecodeText {
  let decoder: InstanceType<typeof TextDecoder>;
  try {
    decoder = new TextDecoder(label, { fatal: true, ignoreBOM: true });
  } catch {
    throw new UsageError(`--encoding "${label}" is not known; there are utf-8, latin1, windows-1252, ...`);
  }
  if (decoder.encoding.startsWith('utf-16')) {
    throw new UsageError(
      `--encoding ${label} cannot be imported; convert the file first: iconv -f ${label} -t utf-8`,
    );
  }
  return (bytes) => {
    try {
      return decoder.decode(bytes);
    } catch {
      return undefined;
    }
  };
}
