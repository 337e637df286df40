import type { Clock, Connection, Listener, Transport } from '@cairn/ports';
import type { ClusterHandlers, KvHandlers, UnaryDoor, WatchHandlers } from '@cairn/router-node';
import {
  clusterServiceDefinition,
  completedFailure,
  isWritingCall,
  kvServiceDefinition,
  toServiceError,
  watchServiceDefinition,
} from '@cairn/wire';

import { decodeCredit, decodeFrame, decodeOpen, encodeStatus, GrpcFrame, wireOf } from './frames.js';
import { decoded, RequestCall, ServerCall, statusOf, type ServerCallParts } from './server-call.js';

const UNIMPLEMENTED = 12;

export interface GrpcServerParts {
  readonly clock: Clock;
  readonly transport: Transport;
  readonly kv: KvHandlers;
  readonly watch: WatchHandlers;
  readonly cluster: ClusterHandlers;
  /** Credit of each call and direction. */
  readonly windowBytes: number;
}

type Codec<Request, Response> = ServerCallParts<Request, Response>['codec'];
type CallParts = Omit<ServerCallParts<never, never>, 'codec'>;

/** What a connection needs of a call; of calls with one request, before that has come, too. */
interface OpenCall {
  onMessage(bytes: Buffer): void;
  onClientEnd(): void;
  onCredit(bytes: number): void;
  cancel(): void;
}

type Method = (parts: CallParts) => OpenCall;

/** Calls whose handler begins when the one request is there. */
function onRequest<Request, Response>(
  codec: Codec<Request, Response>,
  handle: (call: RequestCall<Request, Response>) => void,
): Method {
  return (parts) => {
    let call: RequestCall<Request, Response> | undefined;
    return {
      onMessage: (bytes) => {
        const request = decoded({ codec }, bytes, (failure) => {
          parts.wire.send(GrpcFrame.status, encodeStatus(statusOf(failure)));
          parts.onOver();
        });
        if (request === undefined) return;
        call = new RequestCall({ ...parts, codec }, request);
        handle(call);
      },
      onClientEnd: () => undefined,
      onCredit: (bytes) => call?.onCredit(bytes),
      cancel: () => {
        if (call === undefined) parts.onOver();
        else call.cancel();
      },
    };
  };
}

function unary<Request, Response>(
  codec: Codec<Request, Response>,
  door: UnaryDoor<Request, Response>,
): Method {
  return onRequest(codec, (call) => {
    door(call, (failure, response) => {
      call.answer(failure, response);
    });
  });
}

function promised<Request, Response>(
  codec: Codec<Request, Response>,
  work: (request: Request) => Promise<Response>,
): Method {
  return unary(codec, (call, callback) => {
    work(call.request).then(
      (response) => {
        callback(null, response);
      },
      (error: unknown) => {
        callback(toServiceError(error));
      },
    );
  });
}

function methodsOf({ kv, watch, cluster }: GrpcServerParts): ReadonlyMap<string, Method> {
  const { batch, scan } = kvServiceDefinition;
  return new Map<string, Method>([
    [
      batch.path,
      (parts) => {
        const call = new ServerCall({ ...parts, codec: batch });
        kv.batch(call);
        return call;
      },
    ],
    [scan.path, onRequest(scan, kv.scan)],
    [watchServiceDefinition.watch.path, onRequest(watchServiceDefinition.watch, watch.watch)],
    [kvServiceDefinition.get.path, unary(kvServiceDefinition.get, kv.get)],
    [kvServiceDefinition.put.path, unary(kvServiceDefinition.put, kv.put)],
    [kvServiceDefinition.delete.path, unary(kvServiceDefinition.delete, kv.delete)],
    [kvServiceDefinition.compareAndSet.path, unary(kvServiceDefinition.compareAndSet, kv.compareAndSet)],
    [kvServiceDefinition.increment.path, unary(kvServiceDefinition.increment, kv.increment)],
    [kvServiceDefinition.deleteRange.path, unary(kvServiceDefinition.deleteRange, kv.deleteRange)],
    [kvServiceDefinition.batchGet.path, unary(kvServiceDefinition.batchGet, kv.batchGet)],
    [kvServiceDefinition.getTimestamp.path, unary(kvServiceDefinition.getTimestamp, kv.getTimestamp)],
    [kvServiceDefinition.batchWrite.path, unary(kvServiceDefinition.batchWrite, kv.batchWrite)],
    [clusterServiceDefinition.status.path, promised(clusterServiceDefinition.status, () => cluster.status())],
    [
      clusterServiceDefinition.listNodes.path,
      promised(clusterServiceDefinition.listNodes, () => cluster.listNodes()),
    ],
    [
      clusterServiceDefinition.listRanges.path,
      promised(clusterServiceDefinition.listRanges, (it) => cluster.listRanges(it)),
    ],
    [
      clusterServiceDefinition.splitRanges.path,
      promised(clusterServiceDefinition.splitRanges, (it) => cluster.splitRanges(it)),
    ],
    [
      clusterServiceDefinition.listSettings.path,
      promised(clusterServiceDefinition.listSettings, () => cluster.listSettings()),
    ],
    [
      clusterServiceDefinition.putSetting.path,
      promised(clusterServiceDefinition.putSetting, (it) => cluster.putSetting(it)),
    ],
    [
      clusterServiceDefinition.listHolds.path,
      promised(clusterServiceDefinition.listHolds, () => cluster.listHolds()),
    ],
    [
      clusterServiceDefinition.putHold.path,
      promised(clusterServiceDefinition.putHold, (it) => cluster.putHold(it)),
    ],
    [
      clusterServiceDefinition.deleteHold.path,
      promised(clusterServiceDefinition.deleteHold, (it) => cluster.deleteHold(it)),
    ],
  ]);
}

/** The gRPC port of a router on a simulated network: the real handlers, real messages, no HTTP/2. */
export class SimGrpcServer {
  readonly #parts: GrpcServerParts;
  readonly #methods: ReadonlyMap<string, Method>;
  readonly #connections = new Map<Connection, string>();
  #accepted = 0;
  #listener: Listener | undefined;

  constructor(parts: GrpcServerParts) {
    this.#parts = parts;
    this.#methods = methodsOf(parts);
  }

  async listen(address: string): Promise<void> {
    this.#listener = await this.#parts.transport.listen(address, (connection) => {
      this.#accept(connection);
    });
  }

  async close(): Promise<void> {
    await this.#listener?.close();
    for (const connection of this.#connections.keys()) connection.close();
  }

  #accept(connection: Connection): void {
    const calls = new Map<number, OpenCall>();
    this.#accepted += 1;
    this.#connections.set(connection, `connection ${this.#accepted}`);
    connection.setHandlers({
      onFrame: (frame) => {
        this.#onFrame(connection, calls, frame);
      },
      onClose: () => {
        this.#connections.delete(connection);
        for (const call of [...calls.values()]) call.cancel();
      },
    });
  }

  #onFrame(connection: Connection, calls: Map<number, OpenCall>, frame: Buffer): void {
    const { kind, stream, payload } = decodeFrame(frame);
    switch (kind) {
      case GrpcFrame.open:
        this.#open(connection, calls, { stream, payload });
        return;
      case GrpcFrame.message:
        calls.get(stream)?.onMessage(payload);
        return;
      case GrpcFrame.end:
        calls.get(stream)?.onClientEnd();
        return;
      case GrpcFrame.credit:
        calls.get(stream)?.onCredit(decodeCredit(payload));
        return;
      case GrpcFrame.cancel:
        calls.get(stream)?.cancel();
        return;
      default:
        throw new Error(`a client does not send frames of kind ${kind}`);
    }
  }

  #open(
    connection: Connection,
    calls: Map<number, OpenCall>,
    { stream, payload }: { readonly stream: number; readonly payload: Buffer },
  ): void {
    const { path, timeoutMs } = decodeOpen(payload);
    const wire = wireOf(connection, stream);
    const method = this.#methods.get(path);
    if (method === undefined) {
      const failure = completedFailure(UNIMPLEMENTED, 'the server has no such method', false);
      wire.send(GrpcFrame.status, encodeStatus(statusOf(failure)));
      return;
    }
    const { clock, windowBytes } = this.#parts;
    const call = method({
      wire,
      clock,
      windowBytes,
      timeoutMs,
      isWrite: isWritingCall(path),
      peer: this.#connections.get(connection) ?? '',
      onOver: () => {
        calls.delete(stream);
      },
    });
    calls.set(stream, call);
  }
}
