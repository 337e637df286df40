import { CairnError } from '@cairn/base';

export type EngineOperation = 'write' | 'flush' | 'read';

/** Makes operations of one engine fail, and knows its own errors again. */
export class EngineFaults {
  /** How many operations of the kind succeed first. */
  readonly #armed = new Map<EngineOperation, number>();
  readonly #injected = new WeakSet<Error>();
  readonly #roomBytes: () => number;
  /** Writes and flushes are done only so much later. */
  slowMs = 0;

  /** `roomBytes`: what still fits on the disk that the engine shares. */
  constructor(roomBytes: () => number) {
    this.#roomBytes = roomBytes;
  }

  /** One operation fails, after `after` others of its kind. */
  arm(operation: EngineOperation, after: number): void {
    this.#armed.set(operation, after);
  }

  clear(): void {
    this.#armed.clear();
  }

  /** Throws when the operation has to fail, also for lack of room: of an engine that has no files. */
  check(operation: EngineOperation, bytes: number): void {
    const room = this.#roomBytes();
    if (operation !== 'read' && (room === 0 || bytes > room)) {
      throw this.#error(new CairnError('DISK_FULL', `the engine has no room for its ${operation}`));
    }
    this.checkTold(operation);
  }

  /** Throws when the operation was told to fail. */
  checkTold(operation: EngineOperation): void {
    const left = this.#armed.get(operation);
    if (left === undefined) return;
    if (left > 0) {
      this.#armed.set(operation, left - 1);
      return;
    }
    this.#armed.delete(operation);
    throw this.#error(new CairnError('INTERNAL', `injected engine ${operation} fault`));
  }

  #error(error: CairnError): CairnError {
    this.#injected.add(error);
    return error;
  }

  /** Whether the error, or what caused it, was made up here. */
  isInjected(error: unknown): boolean {
    for (let at = error; at instanceof Error; at = at.cause) if (this.#injected.has(at)) return true;
    return false;
  }
}
