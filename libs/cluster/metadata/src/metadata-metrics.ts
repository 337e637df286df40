import type { Metrics } from '@cairn/ports';

/** Why something that needed old versions holds them no more, besides being done. */
export type PinEnd = 'hold_expired' | 'hold_capped' | 'transaction_capped' | 'router_gone';

/** Numbers of the safe point of garbage collection. */
export interface SafePointGauges {
  /** How far back the safe point is; 0 = there is none. */
  readonly gcSafePointLagSeconds: number;
  readonly gcHolds: number;
  /** How far back the oldest hold lies that counts; 0 = none does. */
  readonly gcHoldAgeSeconds: number;
  /** Whether something else than `gc.life_seconds` keeps the safe point where it is. */
  readonly gcIsPinned: boolean;
}

/** Live values that are read once per scrape. */
export interface MetadataGauges extends SafePointGauges {
  readonly isLeading: boolean;
  readonly stores: number;
  readonly storesLive: number;
  readonly routersLive: number;
  readonly ranges: number;
  readonly rangesWithoutLeader: number;
  readonly rangesUnderReplicated: number;
  readonly rangeGaps: number;
  readonly rangeConflicts: number;
}

export interface MetadataMetrics {
  proposal(outcome: string): void;
  request(method: string, outcome: string): void;
  timestamps(count: number): void;
  windowExtended(): void;
  clockRefused(): void;
  clockLeapt(): void;
  idsAllocated(count: number): void;
  /** Something that needed old versions holds them no more, for another reason than that it is done. */
  pinEnded(end: PinEnd): void;
  /** So many transactions were told to give up. */
  deadlocks(victims: number): void;
  /** Reads the gauges before each scrape. */
  watch(read: () => MetadataGauges): void;
}

export function createMetadataMetrics(metrics: Metrics): MetadataMetrics {
  const proposals = metrics.counter(
    'cairn_metadata_proposals_total',
    'Commands this member proposed to the metadata group, by outcome',
    ['outcome'],
  );
  const requests = metrics.counter(
    'cairn_metadata_requests_total',
    'Requests to the metadata service, by method and outcome (OK or an error code)',
    ['method', 'outcome'],
  );
  const timestamps = metrics.counter('cairn_metadata_timestamps_total', 'Timestamps handed out');
  const windows = metrics.counter(
    'cairn_metadata_timestamp_windows_total',
    'Times the bound of the timestamps was moved ahead through the log',
  );
  const refusals = metrics.counter(
    'cairn_metadata_clock_refusals_total',
    'Times the wall clocks began to be ignored because they were too far from the timestamps',
  );
  const leaps = metrics.counter(
    'cairn_metadata_clock_leaps_total',
    'Times timestamps leapt further than the setting allows, to the time that most members show',
  );
  const ids = metrics.counter('cairn_metadata_ids_total', 'Ids handed out for ranges and replicas');
  const pinsEnded = metrics.counter(
    'cairn_gc_pins_ended_total',
    'Holds that expired, holds and transactions that lay too far back, and routers that died with transactions: none ' +
      'of them keeps old versions any more',
    ['cause'],
  );
  const deadlocks = metrics.counter(
    'cairn_metadata_deadlocks_total',
    'Transactions that were told to give up because they waited for locks in a circle',
  );
  return {
    proposal: (outcome) => {
      proposals.add(1, { outcome });
    },
    request: (method, outcome) => {
      requests.add(1, { method, outcome });
    },
    timestamps: (count) => {
      timestamps.add(count);
    },
    windowExtended: () => {
      windows.add(1);
    },
    clockRefused: () => {
      refusals.add(1);
    },
    clockLeapt: () => {
      leaps.add(1);
    },
    idsAllocated: (count) => {
      ids.add(count);
    },
    pinEnded: (end) => {
      pinsEnded.add(1, { cause: end });
    },
    deadlocks: (victims) => {
      deadlocks.add(victims);
    },
    watch: (read) => {
      watchGauges(metrics, read);
    },
  };
}

function watchGauges(metrics: Metrics, read: () => MetadataGauges): void {
  const leading = metrics.gauge('cairn_metadata_is_leader', '1 on the member that serves, 0 elsewhere');
  const stores = metrics.gauge('cairn_metadata_stores', 'Shard nodes that have joined');
  const storesLive = metrics.gauge('cairn_metadata_stores_live', 'Shard nodes heard from lately');
  const routersLive = metrics.gauge('cairn_metadata_routers_live', 'Routers heard from lately');
  const ranges = metrics.gauge('cairn_metadata_ranges', 'Ranges in the map of the leader');
  const leaderless = metrics.gauge(
    'cairn_metadata_ranges_without_leader',
    'Ranges with no known leader on a live store; 0 while the metadata leader has not heard of all ranges',
  );
  const under = metrics.gauge(
    'cairn_metadata_ranges_under_replicated',
    'Ranges with fewer live voters than wanted and possible; 0 while not all ranges are known',
  );
  const gaps = metrics.gauge(
    'cairn_metadata_range_gaps',
    'Parts of the key space that no reported range covers',
  );
  const conflicts = metrics.gauge(
    'cairn_metadata_range_conflicts',
    'Ranges that overlap another one of the same version: must be 0',
  );
  const setSafePoint = safePointGauges(metrics);
  metrics.onCollect(() => {
    const now = read();
    setSafePoint(now);
    leading.set(now.isLeading ? 1 : 0);
    stores.set(now.stores);
    storesLive.set(now.storesLive);
    routersLive.set(now.routersLive);
    ranges.set(now.ranges);
    leaderless.set(now.rangesWithoutLeader);
    under.set(now.rangesUnderReplicated);
    gaps.set(now.rangeGaps);
    conflicts.set(now.rangeConflicts);
  });
}

function safePointGauges(metrics: Metrics): (now: SafePointGauges) => void {
  const lag = metrics.gauge(
    'cairn_gc_safe_point_lag_seconds',
    'How far back old versions are kept: the newest timestamp less the safe point; 0 on members that do not serve',
  );
  const holds = metrics.gauge('cairn_gc_holds', 'Holds that have not ended');
  const age = metrics.gauge(
    'cairn_gc_hold_age_seconds',
    'How far back the oldest hold lies that counts; 0 = none does',
  );
  const pinned = metrics.gauge(
    'cairn_gc_pinned',
    '1 while a hold or a running transaction keeps the safe point further back than gc.life_seconds',
  );
  return (now) => {
    lag.set(now.gcSafePointLagSeconds);
    holds.set(now.gcHolds);
    age.set(now.gcHoldAgeSeconds);
    pinned.set(now.gcIsPinned ? 1 : 0);
  };
}
