import { CairnError, messageOf } from '@cairn/base';

import { ProtoReader } from './proto-reader.js';

/** Keys or operations of one message, in all calls that take many. */
export const ELEMENTS_MAX = 10_000;
/** Fields before the first element and from each element to the next, those of nested messages included. */
export const FIELDS_MAX = 64;

/** A field that may be there many times. */
export interface RepeatedField {
  readonly name: string;
  readonly max: number;
  /** The shape of each element, when the elements are messages. */
  readonly shape?: MessageShape;
  /** The elements are numbers, many of which travel in one field. */
  readonly isPacked?: boolean;
}

/** What is known of a message before it is decoded. */
export interface MessageShape {
  /** The field that may be there many times. */
  readonly elements?: RepeatedField & { readonly field: number };
  /** Further ones, by number. A maximum is that of the elements of all of them together. */
  readonly more?: ReadonlyMap<number, RepeatedField>;
  /** Fields that are messages, by number. */
  readonly nested?: ReadonlyMap<number, MessageShape>;
}

/** Of a number in a packed field. */
const NUMBER_BYTES_MAX = 10;

export const FLAT: MessageShape = {};

/**
 * Walks over the fields of a message without decoding them: a few kilobytes that unpack to millions of empty
 * fields would cost seconds and gigabytes as objects. Throws INVALID_ARGUMENT for too many of them, and for
 * what is no message.
 */
export function checkShape(bytes: Uint8Array, shape: MessageShape): void {
  const reader = new ProtoReader(
    Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  );
  reader.allowFields(FIELDS_MAX);
  walk(reader, shape);
}

function walk(reader: ProtoReader, shape: MessageShape): void {
  const { elements, more, nested } = shape;
  let count = 0;
  while (reader.hasMore) {
    const tag = reader.tag();
    const field = tag >>> 3;
    const repeated = field === elements?.field ? elements : more?.get(field);
    if (repeated !== undefined) {
      count += 1;
      if (count > repeated.max) throw tooManyElements(repeated.name, repeated.max);
      reader.allowFields(FIELDS_MAX);
    }
    const inner = repeated === undefined ? nested?.get(field) : repeated.shape;
    if ((tag & 7) !== 2) reader.skip(tag);
    else if (repeated?.isPacked === true) {
      if (reader.bytes().length > NUMBER_BYTES_MAX * repeated.max)
        throw tooManyElements(repeated.name, repeated.max);
    } else if (inner === undefined) reader.skip(tag);
    else {
      const outer = reader.enter();
      walk(reader, inner);
      reader.leave(outer);
    }
  }
}

/** How many there are beyond the limit is not told: nobody has counted on. */
export function tooManyElements(name: string, max: number): CairnError {
  return new CairnError('INVALID_ARGUMENT', `${name} has ${max + 1} elements or more; the limit is ${max}`, {
    details: { field: name },
  });
}

/** A decoder that looks at the shape first, and throws nothing but INVALID_ARGUMENT. */
export function boundedDecoder<Message>(
  decode: (bytes: Buffer) => Message,
  shape: MessageShape,
): (bytes: Buffer) => Message {
  return (bytes) => {
    checkShape(bytes, shape);
    try {
      return decode(bytes);
    } catch (cause) {
      throw notDecoded(cause, () => largeIntegerIn(bytes, shape));
    }
  };
}

/** What the generated decoders throw, in the words of this interface. `field`: see `largeIntegerIn`. */
export function notDecoded(cause: unknown, field: () => string = () => ''): CairnError {
  if (CairnError.is(cause)) return cause;
  const reason = messageOf(cause).includes('SAFE_INTEGER')
    ? `an integer of the message${field()} is above 2^53 - 1`
    : 'the message is not well-formed protobuf';
  return new CairnError('INVALID_ARGUMENT', reason, { cause });
}

/**
 * Where in a message of this shape the first integer is that generated decoders refuse, by the numbers of its
 * fields, the outer one first: ` (field 5.1)`. Empty when none is found. Only after one was refused: shapes
 * know no names.
 */
function largeIntegerIn(bytes: Buffer, shape: MessageShape): string {
  const path: number[] = [];
  const search = (reader: ProtoReader, { elements, more, nested }: MessageShape): boolean => {
    while (reader.hasMore) {
      reader.allowFields(1);
      const tag = reader.tag();
      const field = tag >>> 3;
      const repeated = field === elements?.field ? elements : more?.get(field);
      const inner = repeated === undefined ? nested?.get(field) : repeated.shape;
      if ((tag & 7) === 0) {
        if (!reader.isSafeInteger()) return path.push(field) > 0;
      } else if ((tag & 7) !== 2 || inner === undefined) reader.skip(tag);
      else {
        path.push(field);
        const outer = reader.enter();
        if (search(reader, inner)) return true;
        reader.leave(outer);
        path.pop();
      }
    }
    return false;
  };
  return search(new ProtoReader(bytes), shape) ? ` (field ${path.join('.')})` : '';
}
