import type { RangeId, StoreId } from '@cairn/base';
import type { Message } from '@cairn/raft';

/** Lets a store that does not have the replica yet decide whether it may create one. */
export interface RangeHint {
  readonly startKey: Uint8Array;
  /** A membership version whose members include the receiver. */
  readonly confVersion: number;
}

/** The way to the other stores of the group: one connection per store, one frame per turn. */
export interface PeerLinks {
  /**
   * Adds a message to the next frame for the store; dropped (and counted) when there is no connection or its
   * queue is full.
   */
  post(to: StoreId, rangeId: RangeId, message: Message, hint: RangeHint | undefined): void;
  /**
   * Sends a heartbeat of this store, which stands for those of all ranges that it shares with the other.
   * False when it may not arrive; after true, it arrives before everything sent later, or the link is
   * reported lost.
   */
  sendHeartbeat(to: StoreId, frame: Buffer): boolean;
  /** Sends the frames of this turn. */
  flush(): void;
  close(): void;
}
