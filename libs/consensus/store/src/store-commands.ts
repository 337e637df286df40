import {
  assert,
  CairnError,
  formatTooNew,
  opensAt,
  type Gate,
  type RangeDescriptor,
  type VersionRange,
} from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';

import { readDescriptor, writeDescriptor } from '@cairn/wire';

/**
 * First byte of the log commands that the store itself applies; state machine commands start with anything
 * else.
 */
export const STORE_COMMAND_TAG = 0xff;

/** Kinds of store commands. On disk: append only, never reuse; 1 was a split before the first release. */
const CommandKind = { split: 2, noop: 3 } as const;
const KIND_MAX = CommandKind.noop;

/** What must be open before a command of the kind is proposed, and known to the build that reads it. */
const GATE_OF_KIND: Readonly<Partial<Record<number, Gate>>> = { [CommandKind.noop]: 'storeNoop' };

/**
 * Cuts a range. Carries the whole outcome, so that every replica, also one that applies it again, arrives at
 * the same descriptors.
 */
export interface SplitCommand {
  /**
   * Version of the range it was proposed against; on any other the command is void. So it is on a range with
   * other members than those of `left`.
   */
  readonly baseVersion: number;
  /** The range as it stays: same id, shorter span, higher version. */
  readonly left: RangeDescriptor;
  /** The ranges that are created, in key order. */
  readonly children: readonly RangeDescriptor[];
}

/**
 * Changes nothing. The first leader of a range that hears of a new cluster version proposes one: that every
 * replica has read it shows that none is left that could not read what the version brought.
 */
export interface NoopCommand {
  /** Of the leader that proposed it. */
  readonly clusterVersion: number;
}

export type StoreCommand =
  ({ readonly type: 'split' } & SplitCommand) | ({ readonly type: 'noop' } & NoopCommand);

export function encodeNoopCommand({ clusterVersion }: NoopCommand): Buffer {
  const writer = new ByteWriter(8);
  writer.u8(STORE_COMMAND_TAG);
  writer.u8(CommandKind.noop);
  writer.varint(clusterVersion);
  return writer.take();
}

export function encodeSplitCommand(command: SplitCommand): Buffer {
  const writer = new ByteWriter(512);
  writer.u8(STORE_COMMAND_TAG);
  writer.u8(CommandKind.split);
  writer.varint(command.baseVersion);
  writeDescriptor(writer, command.left);
  writer.varint(command.children.length);
  for (const child of command.children) writeDescriptor(writer, child);
  return writer.take();
}

export function isStoreCommand(payload: Uint8Array): boolean {
  return payload.length > 0 && payload[0] === STORE_COMMAND_TAG;
}

/**
 * Throws FORMAT_TOO_NEW for kinds of a later release than one that runs with `known` at most, CORRUPTION for
 * what never was one: the replica must halt, never skip.
 */
export function decodeStoreCommand(payload: Uint8Array, known: VersionRange): StoreCommand {
  const reader = new ByteReader(payload);
  assert(reader.u8() === STORE_COMMAND_TAG, 'not a store command');
  const kind = reader.u8();
  const gate = GATE_OF_KIND[kind];
  if (kind > KIND_MAX || (gate !== undefined && opensAt(gate) > known.max)) {
    throw formatTooNew(`a store command of kind ${kind}`);
  }
  switch (kind) {
    case CommandKind.split:
      return { type: 'split', ...readSplit(reader) };
    case CommandKind.noop: {
      const clusterVersion = reader.varint();
      reader.expectEnd();
      return { type: 'noop', clusterVersion };
    }
    default:
      throw new CairnError('CORRUPTION', `a store command of kind ${kind}`);
  }
}

function readSplit(reader: ByteReader): SplitCommand {
  const baseVersion = reader.varint();
  const left = readDescriptor(reader);
  const count = reader.varint();
  const children: RangeDescriptor[] = [];
  for (let i = 0; i < count; i += 1) children.push(readDescriptor(reader));
  reader.expectEnd();
  return { baseVersion, left, children };
}
