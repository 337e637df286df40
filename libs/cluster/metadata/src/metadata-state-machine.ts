import {
  assert,
  formatTooNew,
  Gates,
  NO_BYTES,
  rangeText,
  type GateView,
  type LogIndex,
  type Term,
  type VersionRange,
} from '@cairn/base';
import type { EngineBatch, KvEngine } from '@cairn/engine';
import type { Entry } from '@cairn/raft';
import type { EngineSpan, StateMachine } from '@cairn/store';

import { decodeCommand } from './command.js';
import { MetadataState, type MetadataView } from './metadata-state.js';
import { decodeRow, METADATA_SPAN, rowFrom, rowKey, type Change, type Row } from './records.js';

/** What `apply` answers a proposer: `void-term` = the entry changed nothing, on any member, ever. */
export type ApplyResult = 'applied' | 'void-term';

/** Told about leadership by the machine, from the store's loop. */
export interface LeadershipListener {
  /** Everything of earlier terms is applied here. */
  leadershipGained(term: Term): void;
  leadershipLost(): void;
}

interface Unpublished {
  readonly index: LogIndex;
  readonly changes: readonly Change[];
}

const LOAD_ROWS = 512;

/**
 * The metadata group's replicated state. Decides nothing: commands carry finished rows (see `Command`), so
 * that applying them again after a crash, on an engine that holds any subset of the later ones, ends in the
 * same state. An unknown command or row throws: the replica must halt, for it would diverge.
 */
export class MetadataStateMachine implements StateMachine {
  readonly #engine: KvEngine;
  readonly #clusterVersions: VersionRange;
  readonly #gates = new Gates(0);
  #state = new MetadataState();
  #unpublished: Unpublished[] = [];
  #leadingTerm: Term | undefined;
  #listener: LeadershipListener | undefined;

  /** @param clusterVersions What this build runs with: a later version ends it. */
  constructor(engine: KvEngine, clusterVersions: VersionRange) {
    this.#engine = engine;
    this.#clusterVersions = clusterVersions;
  }

  /** What this member may write. */
  get gates(): GateView {
    return this.#gates;
  }

  /** The published state. Read it anew after every await: a snapshot replaces it. */
  get state(): MetadataView {
    return this.#state;
  }

  /** The term in which this member leads with everything earlier applied; undefined otherwise. */
  get leadingTerm(): Term | undefined {
    return this.#leadingTerm;
  }

  /** At most one; told at once when this member already leads. */
  setLeadershipListener(listener: LeadershipListener): void {
    assert(this.#listener === undefined, 'the metadata state machine has a listener already');
    this.#listener = listener;
    if (this.#leadingTerm !== undefined) listener.leadershipGained(this.#leadingTerm);
  }

  open(): Promise<void> {
    return this.#load();
  }

  apply(entry: Entry, batch: EngineBatch): ApplyResult {
    const command = decodeCommand(entry.payload);
    if (command.term !== entry.term) return 'void-term';
    const changes = command.rows.map((row) => this.#decoded(row));
    for (const row of command.rows) {
      if (row.value === undefined) batch.delete(rowKey(row));
      else batch.put(rowKey(row), row.value);
    }
    this.#unpublished.push({ index: entry.index, changes });
    return 'applied';
  }

  published(index: LogIndex): void {
    let count = 0;
    for (const { index: at, changes } of this.#unpublished) {
      if (at > index) break;
      for (const change of changes) this.#state.absorb(change);
      count += 1;
    }
    this.#unpublished.splice(0, count);
    this.#gates.raise(this.#state.clusterVersion);
  }

  #decoded(row: Row): Change {
    const change = decodeRow(row);
    const { max } = this.#clusterVersions;
    if (change.type !== 'cluster-version' || change.value <= max) return change;
    throw formatTooNew(
      `metadata of cluster version ${change.value}, where this release runs with ${rangeText(this.#clusterVersions)}`,
    );
  }

  leadershipGained(term: Term): void {
    assert(this.#unpublished.length === 0, 'leadership begins with everything published', { term });
    this.#leadingTerm = term;
    this.#listener?.leadershipGained(term);
  }

  leadershipLost(): void {
    this.#leadingTerm = undefined;
    this.#listener?.leadershipLost();
  }

  spans(): readonly EngineSpan[] {
    return [METADATA_SPAN];
  }

  /** Nothing: all of it is rows. */
  volatileState(): Uint8Array {
    return NO_BYTES;
  }

  async restored(volatileState: Uint8Array): Promise<void> {
    assert(volatileState.length === 0, 'metadata snapshots carry rows only', { bytes: volatileState.length });
    this.#unpublished = [];
    await this.#load();
  }

  closed(): void {
    if (this.#leadingTerm !== undefined) this.leadershipLost();
  }

  async #load(): Promise<void> {
    const state = new MetadataState();
    const iterator = this.#engine.iterate(METADATA_SPAN);
    try {
      for (;;) {
        const rows = await iterator.next(LOAD_ROWS);
        if (rows.length === 0) break;
        for (const [key, value] of rows) state.absorb(this.#decoded(rowFrom(key, value)));
      }
    } finally {
      await iterator.close();
    }
    this.#state = state;
    this.#gates.raise(state.clusterVersion);
  }
}
