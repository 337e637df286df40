/** Raised when the program contradicts itself. Never caught to continue: the range or the process stops. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
  readonly facts: Readonly<Record<string, unknown>>;

  constructor(message: string, facts: Readonly<Record<string, unknown>> = {}) {
    const shown = Object.entries(facts).map(([key, value]) => `${key}=${String(value)}`);
    super(shown.length === 0 ? message : `${message} (${shown.join(', ')})`);
    this.facts = facts;
  }
}

/**
 * Stops on a false condition; stays on in production. `facts` is only read on failure, so pass a literal
 * off the hot path and omit it where the call is per operation.
 */
export function assert(
  condition: unknown,
  message: string,
  facts?: Readonly<Record<string, unknown>>,
): asserts condition {
  if (!condition) throw new InvariantError(message, facts);
}

/**
 * The first thing that every `catch` does which goes on after errors of any kind: an assertion that failed is
 * no answer to a caller and no line between others, because nothing that the process knows can be trusted any
 * more. It is thrown where nobody can catch it, which ends the process, and here, so that nothing goes on.
 */
export function rethrowInvariant(error: unknown): void {
  if (!(error instanceof InvariantError)) return;
  queueMicrotask(() => {
    throw error;
  });
  throw error;
}

/** Closes an exhaustive switch: reaching it at run time means a value outside its declared type. */
export function unreachable(value: never, message = 'unexpected value'): never {
  throw new InvariantError(message, { value: JSON.stringify(value) });
}
