import type { StoreId } from '@cairn/base';

import type { BuildVersions } from './build-versions.js';

/** What a connection between our processes is for; each pair of nodes opens one per purpose it needs. */
export type Purpose = 'rpc' | 'kv' | 'raft' | 'bulk';

/** What a data directory shows to one who decides whether its starts are good; see `StartTokens`. */
export interface HelloStart {
  readonly accepted: string;
  readonly offered: readonly string[];
}

/**
 * Which data directory speaks, and which start of it: how members of the metadata group know each other and
 * nodes.
 */
export interface HelloLife {
  /**
   * Members: the group as the speaker knows it, `name=id` by name; members of differing groups must not talk.
   */
  readonly group: string;
  /** The incarnation of the data directory, hexadecimal. */
  readonly incarnation: string;
  /**
   * Members: what they show to the member that they speak to, and to nobody else, so that it takes no older
   * copy for the newest one, and nobody takes the place of another.
   */
  readonly start: HelloStart | undefined;
  /** Every process makes it anew, hexadecimal. */
  readonly process: string;
  /** What the wall clock of the speaker shows. */
  readonly unixMs: number;
}

/** What the leaders and voters of a node go by, as far as others rely on it. */
export interface LeaseTiming {
  /** For how long a leader serves reads after a round that a quorum answered. */
  readonly leaseDurationMs: number;
  /** For how long a voter gives its vote to nobody else after it heard a leader. */
  readonly voteHoldMs: number;
}

/** First frame in each direction. The acceptor answers with its own, or with a refusal and closes. */
export interface Hello extends BuildVersions {
  /** The newest cluster version that the node has heard of; undefined = none yet. */
  readonly clusterVersion?: number;
  readonly purpose: Purpose;
  /** Empty while the node has not joined yet; two non-empty ids must be equal. */
  readonly clusterId: string;
  readonly kind: 'metadata' | 'shard' | 'router' | 'tool';
  readonly name: string;
  /** 0 for nodes without a store. */
  readonly storeId: StoreId;
  /** Nodes with replicas say what their leaders and voters go by. */
  readonly timing?: LeaseTiming;
  /** Members of the metadata group say which life they are in, and shard nodes to them. */
  readonly life?: HelloLife;
}

/** Frame types: the first byte of every frame. Append only. */
export const FrameType = {
  hello: 1,
  refusal: 2,
  rpcRequest: 3,
  rpcResponse: 4,
  rpcCancel: 5,
  kvRequests: 6,
  kvResponses: 7,
  kvCancel: 8,
  raftMessages: 9,
  storeHeartbeat: 10,
  snapshotBegin: 12,
  snapshotChunk: 13,
  snapshotEnd: 14,
  snapshotAnswer: 15,
  /** Within the session: the other side answers with the next. */
  ping: 16,
  pong: 17,
} as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

export interface SessionHandlers {
  /** The handshake is done; `remote` is set. Frames queued before are on their way. */
  onReady?(): void;
  /**
   * `body` is the frame without its type byte; it belongs to the receiver. A throw closes this session only.
   */
  onFrame(type: FrameType, body: Buffer): void;
  /** Exactly once. */
  onClose(error: Error | undefined): void;
  onDrain?(): void;
}

/** A connection after its handshake. Frames sent before `onReady` wait for it. */
export interface Session {
  readonly remote: Hello | undefined;
  readonly remoteAddress: string;
  readonly isReady: boolean;
  readonly isClosed: boolean;
  readonly queuedBytes: number;
  /** Bytes that came, those of frames that have not arrived whole included. */
  readonly receivedBytes: number;
  /** Same promise as `Connection.send`. */
  send(type: FrameType, parts: readonly Uint8Array[]): boolean;
  close(): void;
  /**
   * Closes it because of what the other side sent; one line of the log says why. Shows as UNAVAILABLE when it
   * was CORRUPTION: nothing that is kept was damaged.
   */
  fail(error: Error): void;
}

/** One unary method over frames, from the generated code. */
export interface RpcMethod<Request, Response> {
  /** `package.Service/Method`. */
  readonly name: string;
  encodeRequest(request: Request): Uint8Array;
  decodeRequest(bytes: Uint8Array): Request;
  encodeResponse(response: Response): Uint8Array;
  decodeResponse(bytes: Uint8Array): Response;
}

export interface RpcCallOptions {
  /** Always bounded. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/**
 * Calls over one session. Rejects with `CairnError`: what the handler threw, UNAVAILABLE when the session
 * closed, DEADLINE_EXCEEDED.
 */
export interface RpcClient {
  call<Request, Response>(
    method: RpcMethod<Request, Response>,
    request: Request,
    options: RpcCallOptions,
  ): Promise<Response>;
}

/** Who calls. */
export interface RpcContext {
  /** Aborts when the caller cancels, its deadline passes or its session closes. */
  readonly signal: AbortSignal;
  /** What the caller has said of itself in its hello. */
  readonly remote: Hello;
  /** The host that its connection comes from. */
  readonly host: string;
}

export type RpcHandler<Request, Response> = (
  request: Request,
  context: RpcContext,
) => Promise<Response> | Response;

export interface RpcServer {
  handle<Request, Response>(
    method: RpcMethod<Request, Response>,
    handler: RpcHandler<Request, Response>,
  ): void;
}
