/** One field of a protobuf message: its number and its raw content. */
export interface ProtobufField {
  readonly field: number;
  /** Wire types 0 and 1 as numbers, 2 as bytes. */
  readonly value: number | Buffer;
}

/**
 * Splits a protobuf message into its fields, without a schema. Enough for the OTLP messages the tests look
 * at.
 */
export function protobufFields(message: Buffer): ProtobufField[] {
  const fields: ProtobufField[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = message.readUInt8(at);
      at += 1;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const field = Math.floor(tag / 8);
    switch (tag % 8) {
      case 0:
        fields.push({ field, value: varint() });
        break;
      case 1:
        fields.push({ field, value: Number(message.readBigUInt64LE(at)) });
        at += 8;
        break;
      case 2: {
        const length = varint();
        fields.push({ field, value: message.subarray(at, at + length) });
        at += length;
        break;
      }
      case 5:
        fields.push({ field, value: message.readUInt32LE(at) });
        at += 4;
        break;
      default:
        throw new Error(`unknown wire type in tag ${tag}`);
    }
  }
  return fields;
}

/** The contents of all length-delimited fields with this number. */
export function bytesOf(message: Buffer, field: number): Buffer[] {
  return protobufFields(message)
    .filter((each) => each.field === field)
    .map((each) => each.value)
    .filter((value): value is Buffer => typeof value !== 'number');
}

/** The content of the first varint or fixed field with this number; 0 when absent, as protobuf has it. */
export function numberOf(message: Buffer, field: number): number {
  const found = protobufFields(message).find((each) => each.field === field)?.value;
  return typeof found === 'number' ? found : 0;
}
