import { CairnError } from '@cairn/base';
import { Server, ServerCredentials, type ServerDuplexStream, type ServerWritableStream } from '@grpc/grpc-js';
import { detailFromError } from '../src/errors.js';
import {
  ClusterService,
  Consistency,
  KVService,
  WATCH_METHOD,
  type BatchOperation,
  type BatchRequest,
  type BatchResponse,
  type BatchResult,
  type ScanRequest,
  type WatchRequest,
  type WatchResponse,
} from '../src/wire-binding.js';
import type { Row, ScanResponse } from '@cairn/wire/gen/cairn/v1/kv.js';
import { FakeCluster } from './fake-cluster.js';
import { FakeStore } from './fake-store.js';

/**
 * What a test wants of one operation: the ordinary answer, none at all, application without an answer, or
 * this refusal.
 */
export type Verdict = 'answer' | 'swallow' | 'apply-silently' | CairnError;

type BatchStream = ServerDuplexStream<BatchRequest, BatchResponse>;
type ScanCall = ServerWritableStream<ScanRequest, ScanResponse>;

export interface FakeRouterOptions {
  readonly store?: FakeStore;
  readonly cluster?: FakeCluster;
  /** 0 = any. */
  readonly port?: number;
}

/** `cairn.v1` on a real gRPC port, over a `FakeStore`, with the faults that tests ask for. */
export class FakeRouter {
  readonly store: FakeStore;
  readonly cluster: FakeCluster;
  /** Every message of every batch stream. */
  readonly messages: BatchRequest[] = [];
  /** Calls that were cancelled. */
  readonly cancels: number[] = [];
  /** Scan requests in the order they came. */
  readonly scans: ScanRequest[] = [];
  pagesWritten = 0;
  /** Decides the fate of each operation; default: answer. */
  verdict: (operation: BatchOperation) => Verdict = () => 'answer';
  /** Breaks a scan after so many of its pages; 0 = never. Reset by each break. */
  breakScanAfterPages = 0;
  /** Streams open without a hello. */
  isMute = false;
  #server = new Server();
  #port: number;
  readonly #streams = new Set<BatchStream>();
  #held: { stream: BatchStream; results: BatchResult[] }[] | undefined;

  constructor(options: FakeRouterOptions = {}) {
    this.store = options.store ?? new FakeStore();
    this.cluster = options.cluster ?? new FakeCluster();
    this.#port = options.port ?? 0;
  }

  static async start(options: FakeRouterOptions = {}): Promise<FakeRouter> {
    const router = new FakeRouter(options);
    await router.start();
    return router;
  }

  get endpoint(): string {
    return `127.0.0.1:${this.#port}`;
  }

  get openStreams(): number {
    return this.#streams.size;
  }

  /** All operations received, cancellations left out. */
  get operations(): BatchOperation[] {
    return this.messages
      .flatMap((message) => message.operations)
      .filter((operation) => operation.operation?.$case !== 'cancel');
  }

  /** Listens; after `kill` on the same port again. */
  async start(): Promise<void> {
    const server = new Server({ 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 });
    server.addService(KVService, {
      getTimestamp: (_call: unknown, callback: (error: null, answer: { timestamp: number }) => void) => {
        callback(null, { timestamp: this.store.timestamp });
      },
      batch: (stream: BatchStream) => this.#onBatch(stream),
      scan: (call: ScanCall) => {
        void this.#onScan(call);
      },
    });
    server.addService(
      { watch: WATCH_METHOD },
      {
        watch: (call: ServerWritableStream<WatchRequest, WatchResponse>) => {
          this.store.watches.serve(call, () => this.#server === server && !call.cancelled);
        },
      },
    );
    server.addService(ClusterService, this.cluster.handlers());
    this.#port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${this.#port}`, ServerCredentials.createInsecure(), (error, port) => {
        if (error === null) resolve(port);
        else reject(error);
      });
    });
    this.#server = server;
  }

  /** Dies: connections are cut, the port is closed. */
  kill(): void {
    this.#streams.clear();
    this.#server.forceShutdown();
  }

  /** Ends every batch stream with an error; the connection stays. */
  breakStreams(): void {
    for (const stream of this.#streams) {
      stream.emit('error', { code: 14, details: 'broken on purpose' });
    }
    this.#streams.clear();
  }

  /** Answers are kept back until `releaseAnswers`. */
  holdAnswers(): void {
    this.#held = [];
  }

  /** Sends what was kept back, newest first: answers come in any order. */
  releaseAnswers(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const { stream, results } of held.toReversed()) {
      this.#send(stream, results.toReversed());
    }
  }

  #onBatch(stream: BatchStream): void {
    this.#streams.add(stream);
    const forget = (): void => {
      this.#streams.delete(stream);
    };
    stream.on('data', (message: BatchRequest) => this.#onMessage(stream, message));
    stream.on('end', () => {
      forget();
      stream.end();
    });
    stream.on('cancelled', forget);
    stream.on('error', forget);
    if (this.isMute) return;
    const { keyBytesMax, valueBytesMax, timestamp } = this.store;
    const hello = {
      clusterId: this.cluster.clusterId,
      serverVersion: '0.1.0-fake',
      keyBytesMax,
      valueBytesMax,
    };
    stream.write({ results: [], hello, timestamp });
  }

  #onMessage(stream: BatchStream, message: BatchRequest): void {
    this.messages.push(message);
    const results: BatchResult[] = [];
    for (const operation of message.operations) {
      if (operation.operation?.$case === 'cancel') {
        this.cancels.push(operation.call);
        continue;
      }
      const result = this.#resultOf(operation);
      if (result !== undefined) results.push({ call: operation.call, result });
    }
    if (results.length === 0) return;
    if (this.#held !== undefined) this.#held.push({ stream, results });
    else this.#send(stream, results);
  }

  #resultOf(operation: BatchOperation): BatchResult['result'] | undefined {
    const verdict = this.verdict(operation);
    if (verdict instanceof CairnError) return { $case: 'error', value: detailFromError(verdict) };
    if (verdict === 'swallow' || operation.operation === undefined) return undefined;
    const result = this.store.apply(operation.operation);
    return verdict === 'apply-silently' ? undefined : result;
  }

  #send(stream: BatchStream, results: BatchResult[]): void {
    if (!this.#streams.has(stream)) return;
    stream.write({ results, hello: undefined, timestamp: this.store.timestamp });
  }

  async #onScan(call: ScanCall): Promise<void> {
    const request = call.request;
    this.scans.push({ ...request });
    const isStale = request.consistency === Consistency.STALE;
    const timestamp = request.timestamp > 0 ? request.timestamp : this.store.timestamp;
    const rows = this.store.scan({ ...request, timestamp });
    const pageBytes = request.pageBytes > 0 ? request.pageBytes : 256 * 1024;
    let pages = 0;
    for (const page of paged(rows, pageBytes)) {
      if (call.cancelled) return;
      const hasRoom = call.write({ rows: page, timestamp: isStale ? 0 : timestamp });
      this.pagesWritten += 1;
      pages += 1;
      if (pages === this.breakScanAfterPages) {
        this.breakScanAfterPages = 0;
        call.emit('error', { code: 14, details: 'broken on purpose' });
        return;
      }
      if (!hasRoom) await new Promise<void>((resolve) => call.once('drain', resolve));
    }
    call.end();
  }
}

/** Cuts rows into pages that end when they pass `pageBytes`. */
function* paged(rows: readonly Row[], pageBytes: number): Generator<Row[], void, undefined> {
  let page: Row[] = [];
  let bytes = 0;
  for (const row of rows) {
    page.push(row);
    bytes += row.key.length + row.value.length;
    if (bytes < pageBytes) continue;
    yield page;
    page = [];
    bytes = 0;
  }
  if (page.length > 0) yield page;
}
