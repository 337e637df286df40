/** A refusal of a decider: a stable code to count by, a sentence for people. */
export interface Refusal<Code extends string> {
  readonly decided: false;
  readonly code: Code;
  readonly reason: string;
}

export function refuse<Code extends string>(code: Code, reason: string): Refusal<Code> {
  return { decided: false, code, reason };
}
