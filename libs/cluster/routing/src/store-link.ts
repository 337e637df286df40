import type { StoreId, Timestamp } from '@cairn/base';
import type { KvRequest, KvResponse } from '@cairn/wire';

export interface StoreLinkHandlers {
  /** The link is up: requests can be sent. */
  onUp(): void;
  /** What was sent and not answered is lost. After `onUp`, or instead of it when the attempt failed. */
  onDown(error: Error | undefined): void;
  /** `maxTimestamp`: the largest oracle timestamp the store has seen. */
  onResponses(responses: readonly KvResponse[], maxTimestamp: Timestamp): void;
}

/** One attempt at a connection to one shard node. */
export interface StoreLink {
  /** Sends one frame. The requests are encoded before this returns. */
  send(requests: readonly KvRequest[]): void;
  /** Gives up on sent requests; no answer is expected any more. */
  cancel(sequences: readonly number[]): void;
  readonly queuedBytes: number;
  /**
   * Bytes that came and are more than small answers take, those of frames that have not arrived whole
   * included. While it grows, answers may be on their way that stand behind large ones.
   */
  readonly largeBytes: number;
  /** Ends the link; it calls no handler afterwards. */
  close(): void;
}

/** How shard nodes are reached: framed sessions in production, objects in tests and simulation. */
export interface StoreConnector {
  connect(storeId: StoreId, address: string, handlers: StoreLinkHandlers): StoreLink;
}
