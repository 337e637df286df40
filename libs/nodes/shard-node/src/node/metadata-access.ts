import type { Timestamp } from '@cairn/base';
import type {
  HeartbeatRequest,
  HeartbeatResponse,
  JoinRequest,
  JoinResponse,
} from '@cairn/wire/gen/cairn/internal/v1/metadata.js';

/** What a shard node asks of the metadata service; `MetadataClient` is one. */
export interface MetadataAccess {
  join(request: JoinRequest, options: { readonly timeoutMs: number }): Promise<JoinResponse>;
  heartbeat(request: HeartbeatRequest): Promise<HeartbeatResponse>;
  /** The first of `count` consecutive ids that nobody else gets. */
  allocateIds(count: number): Promise<number>;
  /** A timestamp issued after the call. */
  timestamp(): Promise<Timestamp>;
  /** Ends its sessions; calls under way reject. */
  close(): void;
}
