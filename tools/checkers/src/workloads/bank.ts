import { nameText, type Name } from '../transactions.js';
import type { Violation } from '../violation.js';

/** What was agreed about the accounts between which money goes to and fro. */
export interface BankRules {
  readonly accounts: readonly Name[];
  readonly total: number;
  readonly mayBeNegative: boolean;
}

/** All balances, read in one transaction. */
export interface BankRead {
  /** Tells people where it is in the history. */
  readonly where: string;
  readonly balances: ReadonlyMap<Name, number>;
}

function balancesText(balances: ReadonlyMap<Name, number>): string {
  return [...balances].map(([account, balance]) => `${nameText(account)} ${balance}`).join(', ');
}

/**
 * Transfers move money and make none: every read of all accounts shows each of them, and the same total.
 *
 * Names: `wrong-total`, `negative-balance`, `missing-account`, `unknown-account`.
 */
export function bankViolations(
  { accounts, total, mayBeNegative }: BankRules,
  reads: readonly BankRead[],
): Violation[] {
  const known = new Set(accounts);
  const violations: Violation[] = [];
  for (const { where, balances } of reads) {
    const add = (name: string, what: string): void => {
      violations.push({ name, explanation: `${where}: ${what}: ${balancesText(balances)}` });
    };
    let sum = 0;
    for (const [account, balance] of balances) {
      sum += balance;
      if (!known.has(account)) add('unknown-account', `nobody knows account ${nameText(account)}`);
      if (balance < 0 && !mayBeNegative)
        add('negative-balance', `account ${nameText(account)} is below zero`);
    }
    for (const account of known) {
      if (!balances.has(account)) add('missing-account', `account ${nameText(account)} is missing`);
    }
    if (sum !== total) add('wrong-total', `the total is ${sum}, not ${total}`);
  }
  return violations;
}
