/** Names of keys and elements of lists. 1 and "1" are different. */
export type Name = string | number;

/** One step of a transaction on lists. */
export type ListOp =
  | { readonly f: 'append'; readonly key: Name; readonly value: Name }
  /**
   * What was read, own appends included; undefined where no answer is known. A key never written is empty.
   */
  | { readonly f: 'r'; readonly key: Name; readonly value: readonly Name[] | undefined };

/**
 * A transaction on lists, as its client saw it. Each element is appended to a key at most once in a
 * history.
 */
export interface Transaction {
  /** Has one open transaction at a time; what it does next began after the last one had returned. */
  readonly process: Name;
  /** `fail`: it surely did not happen. `info`: it may have, may yet, or never. */
  readonly outcome: 'ok' | 'fail' | 'info';
  readonly ops: readonly ListOp[];
  /** On a clock of the observer of all processes: virtual milliseconds, or numbers of lines. */
  readonly invokedMs: number;
  /** On the same clock, not before `invokedMs`; Infinity for `info`. */
  readonly returnedMs: number;
}

/** A name as it stands in a history. */
export function nameText(name: Name): string {
  return typeof name === 'number' || !/^[A-Za-z_][\w./-]*$/.test(name) ? JSON.stringify(name) : name;
}
