/** What a checker found: which promise was broken, and what shows it. */
export interface Violation {
  readonly name: string;
  readonly explanation: string;
}
