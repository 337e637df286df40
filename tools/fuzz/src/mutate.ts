import type { Rng } from '@cairn/ports';

/** Numbers at which lengths, counts and ids tend to go wrong. */
const EDGES: readonly number[] = [
  0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
];

export function below(rng: Rng, end: number): number {
  return rng.integer(Math.max(1, end));
}

export function between(rng: Rng, least: number, most: number): number {
  return least + rng.integer(most - least + 1);
}

export function pick<Item>(rng: Rng, items: readonly Item[]): Item {
  return items[below(rng, items.length)] as Item;
}

export function randomBytes(rng: Rng, length: number): Buffer {
  return Buffer.from(rng.bytes(length));
}

/** One to four edits of the bytes; `others` lend pieces. The original stays as it is. */
export function mutate(rng: Rng, original: Uint8Array, others: readonly Uint8Array[]): Buffer {
  let bytes = Buffer.from(original);
  const edits = between(rng, 1, 4);
  for (let edit = 0; edit < edits; edit += 1) bytes = mutateOnce(rng, bytes, others);
  return bytes;
}

type Edit = 'flip' | 'byte' | 'edge' | 'varint' | 'cut' | 'drop' | 'double' | 'insert' | 'splice';
const EDITS: readonly Edit[] = [
  'flip',
  'flip',
  'byte',
  'edge',
  'varint',
  'cut',
  'drop',
  'double',
  'insert',
  'splice',
];

function mutateOnce(
  rng: Rng,
  bytes: Buffer<ArrayBuffer>,
  others: readonly Uint8Array[],
): Buffer<ArrayBuffer> {
  const at = below(rng, bytes.length);
  const edit = bytes.length === 0 ? 'insert' : pick(rng, EDITS);
  switch (edit) {
    case 'flip':
      bytes[at] = (bytes[at] as number) ^ (1 << below(rng, 8));
      return bytes;
    case 'byte':
      bytes[at] = pick(rng, EDGES) & 0xff;
      return bytes;
    case 'edge':
      return writeEdge(rng, bytes, at);
    case 'varint':
      // Ten bytes that say: more follows. Longer than any number that may be.
      return replaced(
        bytes,
        at,
        at + 1,
        Buffer.concat([Buffer.alloc(below(rng, 11), 0xff), Buffer.from([1])]),
      );
    case 'cut':
      return bytes.subarray(0, at);
    case 'drop':
      return replaced(bytes, at, at + between(rng, 1, 16), Buffer.alloc(0));
    case 'double':
      return replaced(bytes, at, at, bytes.subarray(at, at + between(rng, 1, 64)));
    case 'insert':
      return replaced(bytes, at, at, randomBytes(rng, between(rng, 1, 16)));
    case 'splice': {
      const other = others.length === 0 ? bytes : pick(rng, others);
      return replaced(bytes, at, bytes.length, other.subarray(below(rng, other.length)));
    }
  }
}

function writeEdge(rng: Rng, bytes: Buffer<ArrayBuffer>, at: number): Buffer<ArrayBuffer> {
  const value = pick(rng, EDGES);
  if (at + 4 > bytes.length) bytes[at] = value & 0xff;
  else if (between(rng, 0, 1) === 0) bytes.writeUInt32LE(value, at);
  else bytes.writeUInt32BE(value, at);
  return bytes;
}

function replaced(bytes: Buffer, from: number, to: number, middle: Uint8Array): Buffer<ArrayBuffer> {
  return Buffer.concat([bytes.subarray(0, from), middle, bytes.subarray(Math.max(from, to))]);
}
