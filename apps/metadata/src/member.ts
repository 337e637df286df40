import type { MemberContext } from '@cairn/metadata';
import type { Readiness } from '@cairn/observability';

/** A member that is open, as its process sees it. */
export interface RunningMember {
  /** Where the framed transport listens, with the real port. */
  readonly address: string;
  /** Ready = part of a group that has a leader. */
  readiness(): Readiness;
  close(): Promise<void>;
}

export type OpenMember = (context: MemberContext) => Promise<RunningMember>;
