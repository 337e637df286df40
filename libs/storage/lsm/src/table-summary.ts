import { UINT48_MAX, type ByteReader, type ByteWriter } from '@cairn/codec';

/** Where an engine has its tables. Plain data: jobs on another thread get it. */
export interface EngineDirectory {
  readonly directory: string;
  /** Chance made it when the directory was new, 48 bits: tables of another directory name another one. */
  readonly directoryId: number;
}

/** What is known of a table without reading it. Plain data: it comes from another thread. */
export interface TableSummary {
  /** Names the file; never used twice. */
  readonly number: number;
  /** Size of the file. */
  readonly bytes: number;
  readonly rows: number;
  /** Rows that say that their key was deleted. */
  readonly deletedRows: number;
  readonly smallestKey: Uint8Array;
  readonly largestKey: Uint8Array;
  /** The smallest suffix of a versioned key in it; empty when it holds none. */
  readonly lowestSuffix: Uint8Array;
}

/** Footers have so much room. Who takes a thousand numbers in a second has them for thousands of years. */
export const TABLE_NUMBER_MAX = UINT48_MAX;
const NAME = /^table-([0-9]{10,15})\.lsm$/;

/** The name of a table's file in the engine's directory. */
export function tableName(number: number): string {
  return `table-${String(number).padStart(10, '0')}.lsm`;
}

/** The number in the name of a table's file; undefined for other names. */
export function numberOfTableName(name: string): number | undefined {
  const number = Number(NAME.exec(name)?.[1]);
  return number < TABLE_NUMBER_MAX && tableName(number) === name ? number : undefined;
}

export function writeSummary(writer: ByteWriter, summary: TableSummary): void {
  writer.varint(summary.number);
  writer.varint(summary.bytes);
  writer.varint(summary.rows);
  writer.varint(summary.deletedRows);
  writer.bytes(summary.smallestKey);
  writer.bytes(summary.largestKey);
  writer.bytes(summary.lowestSuffix);
}

/** What it keeps is a copy in memory of its own. */
export function readSummary(reader: ByteReader): TableSummary {
  return {
    number: reader.varint(),
    bytes: reader.varint(),
    rows: reader.varint(),
    deletedRows: reader.varint(),
    smallestKey: new Uint8Array(reader.bytes()),
    largestKey: new Uint8Array(reader.bytes()),
    lowestSuffix: new Uint8Array(reader.bytes()),
  };
}
