import { bankViolations, counterFaults, setViolations, type BankRead, type Operation } from '@cairn/checkers';

import type { Caller, Outcome } from './caller.js';
import type { LoadClient, LoadIsolation, LoadTransaction, Snapshot } from './load-client.js';
import type { Fault, Load, LoadOptions } from './load.js';
import { faultOf, processAfter, recordedOutcome } from './recorded.js';
import { padded, spanOf, unpadded } from './text.js';

const ACCOUNTS = Array.from({ length: 8 }, (_, at) => `w/bank/${at}`);
const ACCOUNT_SPAN = spanOf('w/bank/');
const RECEIPT_PREFIX = 'w/bank-receipt/';
const FEES = 'w/bank-fees';
/** Receipts, fees and accounts. */
const BOOKS = { start: 'w/bank-', end: ACCOUNT_SPAN.end } as const;
const OPENING = 100;
const TOTAL = OPENING * ACCOUNTS.length;
const AMOUNT_MAX = 20;
/** Timestamps that somebody may read at once more. */
const REMEMBERED_MAX = 50;
/** Whole reads that are made once more in the end. */
const READ_AGAIN_MAX = 60;

interface Transfer {
  readonly from: string;
  readonly to: string;
  readonly amount: number;
  readonly receipt: string;
  /** It also counts the fee. */
  readonly hasFee: boolean;
}

/** What a transfer did, as its caller was told. */
interface Transferred {
  readonly transfer: Transfer;
  readonly outcome: 'ok' | 'fail' | 'info';
  /** It was carried out, if at all; false: there was not enough money. */
  readonly isMade: boolean;
  readonly where: string;
}

/**
 * Accounts in several ranges between which money is moved: by transactions over two or three ranges, and
 * in one call. Every transfer leaves a receipt, so that in the end it is known of each whether it
 * happened: those that were acknowledged did, those that were refused did not, and the balances are what
 * the receipts say. All whole reads show the same total. A counter beside is incremented plainly and by
 * transfers.
 */
export class BankLoad implements Load {
  readonly name = 'bank';
  readonly splitKeys = [RECEIPT_PREFIX, ...ACCOUNTS];
  readonly #isolation: LoadIsolation;
  readonly #paddingBytes: number;
  readonly #reads: (BankRead & { readonly timestamp: number | undefined; readonly after: number })[] = [];
  readonly #transfers: Transferred[] = [];
  readonly #fees: Operation[] = [];
  readonly #timestamps: number[] = [];
  /** What was wrong as soon as it was seen. */
  readonly #faults: Fault[] = [];
  #finalReceipts: readonly string[] | undefined;
  #finalBalances: ReadonlyMap<string, number> | undefined;
  #finalFees: number | undefined;

  constructor({ isolation = 'serializable', paddingBytes = 0 }: LoadOptions = {}) {
    this.#isolation = isolation;
    this.#paddingBytes = paddingBytes;
  }

  async layOut(client: LoadClient): Promise<void> {
    await client.writeAtomically(ACCOUNTS.map((key) => ({ key, value: String(OPENING) })));
  }

  step(caller: Caller): Promise<void> {
    const dice = caller.rng.integer(100);
    if (dice < 38) return this.#transfer(caller);
    if (dice < 56) return this.#transferAtOnce(caller);
    if (dice < 68) return this.#readSnapshot(caller, undefined);
    if (dice < 76) return this.#readPast(caller);
    if (dice < 84) return this.#scan(caller);
    if (dice < 90) return this.#scanInside(caller);
    return this.#addFee(caller);
  }

  #draw(caller: Caller): Transfer {
    const { rng } = caller;
    const from = rng.pick(ACCOUNTS);
    const to = rng.pick(ACCOUNTS.filter((account) => account !== from));
    const amount = 1 + rng.integer(AMOUNT_MAX);
    return { from, to, amount, receipt: RECEIPT_PREFIX + caller.newValue(), hasFee: rng.chance(0.15) };
  }

  /** Reads, looks whether there is enough, writes; sometimes the balances of all are added up in between. */
  async #transfer(caller: Caller): Promise<void> {
    const transfer = this.#draw(caller);
    const looks = caller.rng.chance(0.2);
    const where = this.#where(caller, 'a scan in a transfer');
    const outcome = await caller.attempt('transaction', () =>
      caller.client.transaction(this.#isolation, async (tx) => {
        const fees = await this.#carryOut(tx, transfer);
        if (!looks) return fees;
        const rows = await tx.scan(ACCOUNT_SPAN);
        this.#see(rows, where, undefined);
        if (fees !== undefined && rows.get(transfer.from) !== fees.left)
          this.#faults.push({ name: 'own-write', message: `${where} does not show what it wrote` });
        return fees;
      }),
    );
    const made = outcome.type === 'ok' ? outcome.value.value : { fees: undefined };
    if (outcome.type === 'ok' && outcome.value.commit !== undefined) this.#remember(outcome.value.commit);
    this.#record(caller, transfer, outcome, made);
  }

  /** Answers what the fees are then, and what it left; undefined when there was not enough. */
  async #carryOut(
    tx: LoadTransaction,
    { from, to, amount, receipt, hasFee }: Transfer,
  ): Promise<{ readonly fees: number | undefined; readonly left: string } | undefined> {
    const [before, there] = (await tx.getMany([from, to])).map(Number) as [number, number];
    if (before < amount) return undefined;
    tx.put(from, String(before - amount));
    tx.put(to, String(there + amount));
    tx.put(receipt, padded(receiptText({ from, to, amount }), this.#paddingBytes));
    return { fees: hasFee ? await tx.increment(FEES, 1) : undefined, left: String(before - amount) };
  }

  /** On the condition that the balance is what somebody saw, in one call. */
  async #transferAtOnce(caller: Caller): Promise<void> {
    const transfer = this.#draw(caller);
    const { from, to, amount, receipt, hasFee } = transfer;
    const seen = await caller.read(() => caller.client.get(from));
    if (seen.type !== 'ok' || Number(seen.value) < amount) return;
    const outcome = await caller.attempt('transaction', () =>
      caller.client.execute({
        conditions: [{ key: from, value: seen.value }],
        then: [
          { f: 'increment', key: from, delta: -amount },
          { f: 'increment', key: to, delta: amount },
          { f: 'put', key: receipt, value: padded(receiptText(transfer), this.#paddingBytes) },
          ...(hasFee ? [{ f: 'increment', key: FEES, delta: 1 } as const] : []),
        ],
        otherwise: ACCOUNTS.map((key) => ({ f: 'get', key })),
      }),
    );
    if (outcome.type !== 'ok') {
      this.#record(caller, transfer, outcome, { fees: undefined });
      return;
    }
    const { succeeded, results, commit } = outcome.value;
    if (succeeded) {
      this.#remember(commit);
      const fees = hasFee ? results?.[3] : undefined;
      // An increment whose sum is not known any more has happened, at an unknown place among the others.
      this.#record(caller, transfer, outcome, { fees: fees === undefined ? undefined : Number(fees) });
      return;
    }
    this.#record(caller, transfer, outcome, undefined);
    if (results === undefined) return;
    const found = ACCOUNTS.flatMap((key, at) =>
      results[at] === undefined ? [] : [[key, results[at]] as const],
    );
    this.#see(new Map(found), this.#where(caller, 'a transfer that was refused'), undefined);
  }

  #record(
    caller: Caller,
    transfer: Transfer,
    outcome: Outcome<unknown>,
    made: { readonly fees: number | undefined } | undefined,
  ): void {
    const where = this.#where(caller, `a transfer of ${transfer.amount}`);
    this.#transfers.push({ transfer, outcome: recordedOutcome(outcome), isMade: made !== undefined, where });
    if (transfer.hasFee && made !== undefined && outcome.type !== 'failed') {
      const isKnown = made.fees !== undefined && outcome.type === 'ok';
      this.#fee(caller, outcome, isKnown ? made.fees : undefined);
    }
    processAfter(caller, outcome);
  }

  #fee(caller: Caller, { invokedMs, returnedMs }: Outcome<unknown>, sum: number | undefined): void {
    this.#fees.push({
      ...{ process: caller.process, key: FEES, invokedMs },
      action: { f: 'add', delta: 1, result: sum === undefined ? '' : String(sum) },
      returnedMs: sum === undefined ? Number.POSITIVE_INFINITY : returnedMs,
    });
  }

  async #addFee(caller: Caller): Promise<void> {
    const outcome = await caller.attempt('plain', () => caller.client.increment(FEES, 1));
    if (outcome.type !== 'failed')
      this.#fee(caller, outcome, outcome.type === 'ok' ? outcome.value : undefined);
    processAfter(caller, outcome);
  }

  async #readSnapshot(caller: Caller, at: number | undefined): Promise<void> {
    const outcome = await caller.read(() => caller.client.snapshot(ACCOUNTS, at));
    if (outcome.type === 'ok') this.#seeSnapshot(caller, outcome.value, 'a snapshot');
  }

  async #readPast(caller: Caller): Promise<void> {
    const [at] = this.#timestamps.slice(-1 - caller.rng.integer(REMEMBERED_MAX));
    if (at !== undefined) await this.#readSnapshot(caller, at);
  }

  async #scan(caller: Caller): Promise<void> {
    const outcome = await caller.read(() => caller.client.scan(ACCOUNT_SPAN));
    if (outcome.type === 'ok') this.#seeSnapshot(caller, outcome.value, 'a scan');
  }

  async #scanInside(caller: Caller): Promise<void> {
    const outcome = await caller.read(() =>
      caller.client.transaction(this.#isolation, (tx) => tx.scan(ACCOUNT_SPAN)),
    );
    if (outcome.type !== 'ok') return;
    this.#see(outcome.value.value, this.#where(caller, 'a scan in a transaction'), outcome.value.commit);
  }

  #seeSnapshot(caller: Caller, { rows, timestamp }: Snapshot, what: string): void {
    this.#remember(timestamp);
    this.#see(rows, this.#where(caller, `${what} at ${timestamp}`), timestamp);
  }

  #remember(timestamp: number): void {
    this.#timestamps.push(timestamp);
    if (this.#timestamps.length > REMEMBERED_MAX) this.#timestamps.shift();
  }

  #see(rows: ReadonlyMap<string, string>, where: string, timestamp: number | undefined): void {
    const balances = new Map([...rows].map(([key, text]) => [key, Number(text)]));
    this.#reads.push({ where, balances, timestamp, after: this.#transfers.length });
  }

  #where(caller: Caller, what: string): string {
    return `${what} of ${caller.process} at ${caller.nowMs().toFixed(1)} ms`;
  }

  /** What was seen at an instant is still there; what is older than the cluster keeps cannot be read. */
  async #readAgain(caller: Caller): Promise<void> {
    const instants = this.#reads.flatMap(({ timestamp }) => (timestamp === undefined ? [] : [timestamp]));
    const every = Math.max(1, Math.floor(instants.length / READ_AGAIN_MAX));
    for (let at = 0; at < instants.length; at += every) await this.#readSnapshot(caller, instants[at]);
  }

  async finalReads(caller: Caller): Promise<readonly string[]> {
    await this.#readAgain(caller);
    // Of one instant: what had an unknown outcome may happen even now.
    const books = await caller.read(() => caller.client.scan(BOOKS));
    const fees = await caller.read(() => caller.client.get(FEES));
    await this.#readSnapshot(caller, undefined);
    if (books.type !== 'ok' || fees.type !== 'ok') return ['the books of the bank'];
    const rows = [...books.value.rows];
    const accounts = new Map(rows.filter(([key]) => key >= ACCOUNT_SPAN.start));
    this.#seeSnapshot(caller, { rows: accounts, timestamp: books.value.timestamp }, 'the last scan');
    this.#finalBalances = new Map([...accounts].map(([key, text]) => [key, Number(text)]));
    this.#finalReceipts = rows
      .filter(([key]) => key.startsWith(RECEIPT_PREFIX))
      .map(([key, text]) => `${key} ${unpadded(text)}`);
    this.#finalFees = Number(fees.value ?? '0');
    return [];
  }

  /** As `npm run check -- bank` reads it, in the order in which things ended, each a process of its own. */
  lines(): string[] {
    const lines: string[] = [];
    const add = (f: string, type: string, fields: object): void => {
      const process = lines.length;
      lines.push(JSON.stringify({ process, type: 'invoke', f, ...fields, value: null }));
      if (type !== 'info') lines.push(JSON.stringify({ process, type, f, ...fields }));
    };
    let read = 0;
    for (let at = 0; at <= this.#transfers.length; at += 1) {
      for (; this.#reads[read]?.after === at; read += 1) {
        const { balances, where } = this.#reads[read] as BankRead;
        add('read', 'ok', { value: Object.fromEntries(balances), where });
      }
      const transferred = this.#transfers[at];
      if (transferred === undefined) continue;
      const { transfer, outcome, isMade, where } = transferred;
      add('transfer', isMade ? outcome : 'fail', { value: transfer, where });
    }
    return lines;
  }

  judge(): readonly Fault[] {
    const rules = { accounts: ACCOUNTS, total: TOTAL, mayBeNegative: false };
    const faults = [
      ...this.#faults,
      ...bankViolations(rules, this.#reads).map(faultOf),
      ...this.#differences(),
    ];
    if (this.#finalReceipts !== undefined) faults.push(...this.#receiptFaults(this.#finalReceipts));
    const wrongFees = this.#finalFees === undefined ? [] : counterFaults(FEES, this.#fees, this.#finalFees);
    return [...faults, ...wrongFees.map((message) => ({ name: 'counters', message }))];
  }

  /** What two reads of one instant show is the same. */
  #differences(): Fault[] {
    const faults: Fault[] = [];
    const first = new Map<number, BankRead>();
    for (const read of this.#reads) {
      if (read.timestamp === undefined) continue;
      const other = first.get(read.timestamp);
      if (other === undefined) first.set(read.timestamp, read);
      else if (ACCOUNTS.some((key) => other.balances.get(key) !== read.balances.get(key)))
        faults.push({ name: 'two-pasts', message: `${other.where} and ${read.where} differ` });
    }
    return faults;
  }

  #receiptFaults(there: readonly string[]): Fault[] {
    const adds = this.#transfers.map(({ transfer, outcome, isMade, where }) => ({
      element: `${transfer.receipt} ${receiptText(transfer)}`,
      outcome: isMade ? outcome : ('fail' as const),
      where,
    }));
    const faults = setViolations(adds, there).map(faultOf);
    const balances = new Map(ACCOUNTS.map((key) => [key, OPENING]));
    for (const receipt of there) {
      const [, from = '', to = '', amount = ''] = receipt.split(' ');
      balances.set(from, (balances.get(from) ?? 0) - Number(amount));
      balances.set(to, (balances.get(to) ?? 0) + Number(amount));
    }
    for (const [key, balance] of balances) {
      const found = this.#finalBalances?.get(key);
      if (found === balance) continue;
      faults.push({ name: 'partial-transfer', message: `${key} is ${found}, its receipts say ${balance}` });
    }
    return faults;
  }
}

function receiptText({ from, to, amount }: Pick<Transfer, 'from' | 'to' | 'amount'>): string {
  return `${from} ${to} ${amount}`;
}
