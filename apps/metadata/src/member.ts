import type { MetadataConfig } from '@cairn/config';
import type { Readiness } from '@cairn/observability';
import type { Logger, Metrics, Tracer } from '@cairn/ports';

/** What a member needs from its process. */
export interface MemberContext {
  readonly config: MetadataConfig;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly tracer: Tracer;
  /** Its log or engine failed: nothing may be acknowledged any more, the process ends. */
  onFatal(error: Error): void;
}

/** A member of the metadata group that is open: store, sessions and service. */
export interface RunningMember {
  /** Where the framed transport listens, with the real port. */
  readonly address: string;
  /** Ready = part of a group that has a leader. */
  readiness(): Readiness;
  /** Stops accepting, stops the service, closes the group, in this order. */
  close(): Promise<void>;
}

/** Opens engine, log, store, group and transport and puts `createMetadataNode` on top. */
export type OpenMember = (context: MemberContext) => Promise<RunningMember>;
