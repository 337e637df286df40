import { createHash } from 'node:crypto';

/*
 * How keys of any length become keys of LMDB, which takes 1 to 1978 bytes with pages of 4 KiB.
 *
 *   0x00 name              rows of the engine itself
 *   0x01 key               a key of up to SEGMENT_BYTES bytes
 *   0x01 segment 0x00      "longer keys begin with this segment": a pointer, without a value
 *   0x02 digest rest       the rest of a longer key, in the node named by the digest of all before it;
 *   0x02 digest segment 0x00  again a pointer, if the rest is too long as well
 *
 * A pointer sorts right behind the key that is its segment and before every other, so the order of the
 * rows is the order of the keys. Nodes are named by digest, not by a counter: a put is the same writes
 * however often it is repeated, and reads nothing.
 */

/** Bytes of a key that one row takes. A pointer of a node is then 1946 bytes long. */
export const SEGMENT_BYTES = 1920;

const ROOT_TAG = 1;
const NODE_TAG = 2;
const DIGEST_BYTES = 24;
const EMPTY = Buffer.alloc(0);
const ROOT_PREFIX = Buffer.from([ROOT_TAG]);
const POINTER_END = Buffer.from([0]);
const PAST_POINTER_END = Buffer.from([0, 0]);

/** What says that, and in which layout, this engine made the file. */
export const FORMAT_KEY = Buffer.from('\0format');
export const FORMAT_VALUE = Buffer.from('cairn lmdb engine 1');

/** A set of rows with one prefix: the root, or a node that holds the rests of long keys. */
export interface KeyNode {
  /** What all rows of the node begin with in the file. */
  readonly physical: Buffer;
  /** What all its keys begin with. */
  readonly logical: Buffer;
}

export const ROOT_NODE: KeyNode = { physical: ROOT_PREFIX, logical: EMPTY };

/** The node behind a pointer that was met in `parent`. */
export function childNode(parent: KeyNode, segment: Uint8Array): KeyNode {
  const logical = Buffer.concat([parent.logical, segment]);
  const digest = createHash('sha256').update(logical).digest();
  return { physical: Buffer.concat([Buffer.from([NODE_TAG]), digest.subarray(0, DIGEST_BYTES)]), logical };
}

/** Whether what follows the node's prefix marks a pointer. */
export function isPointer(rest: Uint8Array): boolean {
  return rest.length > SEGMENT_BYTES;
}

/** The row of a key. */
export function rowKey(key: Uint8Array): Buffer {
  if (key.length > SEGMENT_BYTES) return longRow(key).row;
  const row = Buffer.allocUnsafe(key.length + 1);
  row[0] = ROOT_TAG;
  row.set(key, 1);
  return row;
}

/** The row of a key longer than one segment, and the pointers that lead there. */
export function longRow(key: Uint8Array): { readonly row: Buffer; readonly pointers: readonly Buffer[] } {
  const pointers: Buffer[] = [];
  let node = ROOT_NODE;
  let rest = key;
  while (rest.length > SEGMENT_BYTES) {
    const segment = rest.subarray(0, SEGMENT_BYTES);
    pointers.push(Buffer.concat([node.physical, segment, POINTER_END]));
    node = childNode(node, segment);
    rest = rest.subarray(SEGMENT_BYTES);
  }
  return { row: Buffer.concat([node.physical, rest]), pointers };
}

/** Rows of a node from `start` on and before `end`, pointers that may lead to such keys included. */
export function nodeSpan(node: KeyNode, start: Buffer, end: Buffer): { start: Buffer; end: Buffer } {
  return { start: lowerRow(node, start), end: upperRow(node, end) };
}

/** Whether every key behind a pointer, and no other, lies within the span. */
export function coversNode(node: KeyNode, start: Buffer, end: Buffer): boolean {
  return start.compare(node.logical) <= 0 && end.compare(node.logical) > 0 && !startsWith(end, node.logical);
}

function lowerRow(node: KeyNode, start: Buffer): Buffer {
  if (!startsWith(start, node.logical)) return node.physical;
  const rest = start.subarray(node.logical.length);
  if (rest.length <= SEGMENT_BYTES) return Buffer.concat([node.physical, rest]);
  return Buffer.concat([node.physical, rest.subarray(0, SEGMENT_BYTES), POINTER_END]);
}

function upperRow(node: KeyNode, end: Buffer): Buffer {
  if (!startsWith(end, node.logical)) return prefixEnd(node.physical);
  const rest = end.subarray(node.logical.length);
  if (rest.length <= SEGMENT_BYTES) return Buffer.concat([node.physical, rest]);
  return Buffer.concat([node.physical, rest.subarray(0, SEGMENT_BYTES), PAST_POINTER_END]);
}

function startsWith(bytes: Buffer, prefix: Buffer): boolean {
  return bytes.length >= prefix.length && prefix.equals(bytes.subarray(0, prefix.length));
}

/** The first key above all that start with the prefix: a tag keeps it from overflowing. */
function prefixEnd(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  let at = end.length - 1;
  while (end[at] === 0xff) at -= 1;
  end[at] = (end[at] ?? 0) + 1;
  return end.subarray(0, at + 1);
}
