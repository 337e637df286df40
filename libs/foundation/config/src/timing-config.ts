import { CairnError, outlastsLease } from '@cairn/base';
import { millisecondsField } from './fields.js';

/** Timing of every Raft group of a process. All groups and all processes of a cluster use the same values. */
export interface TimingConfig {
  readonly tickIntervalMs: number;
  readonly heartbeatIntervalMs: number;
  readonly electionTimeoutMs: number;
  readonly electionJitterMs: number;
  readonly leaseDurationMs: number;
  readonly voteHoldMs: number;
}

/** The fields, to be spread into the schema of a process. */
export const timingFields = {
  tickIntervalMs: millisecondsField({
    description: 'How often Raft time advances. Everything below is rounded to whole ticks.',
    default: 50,
    min: 5,
    max: 1_000,
  }),
  heartbeatIntervalMs: millisecondsField({
    description: 'How often a leader tells its followers that it lives.',
    default: 150,
    min: 10,
    max: 10_000,
  }),
  electionTimeoutMs: millisecondsField({
    description: 'A follower that has heard nothing for at least this long campaigns.',
    default: 600,
    min: 50,
    max: 60_000,
  }),
  electionJitterMs: millisecondsField({
    description:
      'Up to this much is added to the election timeout, by chance, so that followers do not collide.',
    default: 600,
    min: 10,
    max: 60_000,
  }),
  leaseDurationMs: millisecondsField({
    description:
      'For how long after the sending of a heartbeat round that a quorum answered a leader may serve reads without ' +
      'asking again.',
    default: 400,
    min: 10,
    max: 60_000,
  }),
  voteHoldMs: millisecondsField({
    description:
      'For how long after a heartbeat a follower grants no vote to anybody else. Longer than the lease of any node ' +
      'of the cluster by a margin for clocks that run at different speeds: nodes of which that is not so refuse ' +
      'each other. To raise both, raise this one on all nodes first.',
    default: 500,
    min: 10,
    max: 60_000,
  }),
} as const;

/** The relations without which leases are unsafe or elections never settle: one sentence per violation. */
export function checkTiming(timing: TimingConfig): string[] {
  const problems: string[] = [];
  const expect = (holds: boolean, rule: string, why: string): void => {
    if (!holds) problems.push(`${rule}: ${why}.`);
  };
  const { tickIntervalMs, heartbeatIntervalMs, electionTimeoutMs, electionJitterMs } = timing;
  const { leaseDurationMs, voteHoldMs } = timing;
  expect(
    tickIntervalMs * 2 <= heartbeatIntervalMs,
    `twice tickIntervalMs (${tickIntervalMs * 2}) must not be above heartbeatIntervalMs (${heartbeatIntervalMs})`,
    'heartbeats go out on ticks',
  );
  expect(
    heartbeatIntervalMs * 2 < electionTimeoutMs,
    `twice heartbeatIntervalMs (${heartbeatIntervalMs * 2}) must be below electionTimeoutMs (${electionTimeoutMs})`,
    'one lost heartbeat must not start an election',
  );
  expect(
    tickIntervalMs <= electionJitterMs,
    `tickIntervalMs (${tickIntervalMs}) must not be above electionJitterMs (${electionJitterMs})`,
    'followers that time out in the same tick split the vote',
  );
  expect(
    heartbeatIntervalMs < leaseDurationMs,
    `heartbeatIntervalMs (${heartbeatIntervalMs}) must be below leaseDurationMs (${leaseDurationMs})`,
    'a lease must be renewed before it ends',
  );
  expect(
    outlastsLease(voteHoldMs, leaseDurationMs),
    `voteHoldMs (${voteHoldMs}) must be at least 10 % above leaseDurationMs (${leaseDurationMs})`,
    'else a new leader could be elected while the old one still trusts its lease',
  );
  expect(
    voteHoldMs <= electionTimeoutMs,
    `voteHoldMs (${voteHoldMs}) must not be above electionTimeoutMs (${electionTimeoutMs})`,
    'else followers campaign while nobody may vote for them',
  );
  return problems;
}

/** Picks the timing out of the values of a process. */
export function timingOf(values: TimingConfig): TimingConfig {
  return {
    tickIntervalMs: values.tickIntervalMs,
    heartbeatIntervalMs: values.heartbeatIntervalMs,
    electionTimeoutMs: values.electionTimeoutMs,
    electionJitterMs: values.electionJitterMs,
    leaseDurationMs: values.leaseDurationMs,
    voteHoldMs: values.voteHoldMs,
  };
}

/** The timing used when nothing is configured. Valid by test. */
export const DEFAULT_TIMING: TimingConfig = {
  tickIntervalMs: 50,
  heartbeatIntervalMs: 150,
  electionTimeoutMs: 600,
  electionJitterMs: 600,
  leaseDurationMs: 400,
  voteHoldMs: 500,
};

/**
 * For hosts that build a timing in code (simulator, tests).
 *
 * @throws CairnError `INVALID_ARGUMENT` with every violated relation.
 */
export function validateTiming(timing: TimingConfig): TimingConfig {
  const problems = checkTiming(timing);
  if (problems.length > 0)
    throw new CairnError('INVALID_ARGUMENT', problems.join('\n'), { details: { problems } });
  return timing;
}
