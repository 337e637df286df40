import { assert } from '@cairn/base';
import { Client, credentials } from '@grpc/grpc-js';
import type { LoadTarget } from './closed-loop.js';
import {
  decodePutResponse,
  decodeRangeResponse,
  decodeTxnResponse,
  encodePutRequest,
  encodeRangeRequest,
  encodeTxnRequest,
  type EtcdPutRequest,
  type EtcdRangeRequest,
  type EtcdRangeResponse,
  type EtcdTxnRequest,
} from './etcd-codec.js';
import type { ComparingTarget } from './transaction-target.js';

const RANGE = '/etcdserverpb.KV/Range';
const PUT = '/etcdserverpb.KV/Put';
const TXN = '/etcdserverpb.KV/Txn';
/** With the rows of the benchmark a page is about as large as a page of ours. */
const PAGE_ROWS = 1_000;
const TIMEOUT_MS = 10_000;
const NOTHING = Buffer.alloc(0);

/** etcd under a Node client: unary calls, the slots spread over the members. */
export class EtcdTarget implements LoadTarget {
  readonly comparing: ComparingTarget = {
    comparePut: (slot, keys, value) => this.#comparePut(slot, keys, value),
  };
  readonly #clients: readonly Client[];

  constructor(endpoints: readonly string[]) {
    assert(endpoints.length > 0, 'etcd has members');
    this.#clients = endpoints.map((endpoint) => new Client(endpoint, credentials.createInsecure()));
  }

  put(slot: number, key: Buffer, value: Buffer, timeoutMs = TIMEOUT_MS): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#client(slot).makeUnaryRequest<EtcdPutRequest, number>(
        PUT,
        encodePutRequest,
        decodePutResponse,
        { key, value },
        { deadline: Date.now() + timeoutMs },
        (error, revision) => (error === null ? resolve(revision ?? 0) : reject(error)),
      );
    });
  }

  async get(slot: number, key: Buffer, isStale: boolean): Promise<Uint8Array | undefined> {
    const request = { key, rangeEnd: NOTHING, limit: 0, revision: 0, isSerializable: isStale };
    return (await this.#range(slot, request)).rows[0]?.value;
  }

  /** Page after page at the revision of the first: one snapshot, as a scan of ours is. */
  async scan(start: Buffer, end: Buffer): Promise<number> {
    let rows = 0;
    let revision = 0;
    let key = start;
    for (;;) {
      const request = { key, rangeEnd: end, limit: PAGE_ROWS, revision, isSerializable: false };
      const page = await this.#range(0, request);
      rows += page.rows.length;
      const last = page.rows.at(-1);
      if (!page.more || last === undefined) return rows;
      revision = page.revision;
      // The smallest key behind the last one.
      key = Buffer.concat([last.key, Buffer.of(0)]);
    }
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }

  #client(slot: number): Client {
    const client = this.#clients[slot % this.#clients.length];
    assert(client !== undefined, 'a slot has a client', { slot });
    return client;
  }

  #comparePut(slot: number, keys: readonly Buffer[], value: Buffer): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#client(slot).makeUnaryRequest<EtcdTxnRequest, boolean>(
        TXN,
        encodeTxnRequest,
        decodeTxnResponse,
        { keys, value },
        { deadline: Date.now() + TIMEOUT_MS },
        (error, succeeded) => (error === null ? resolve(succeeded ?? false) : reject(error)),
      );
    });
  }

  #range(slot: number, request: EtcdRangeRequest): Promise<EtcdRangeResponse> {
    return new Promise((resolve, reject) => {
      this.#client(slot).makeUnaryRequest<EtcdRangeRequest, EtcdRangeResponse>(
        RANGE,
        encodeRangeRequest,
        decodeRangeResponse,
        request,
        { deadline: Date.now() + TIMEOUT_MS },
        (error, response) => {
          if (error !== null) reject(error);
          else if (response === undefined) reject(new Error('etcd answered a Range with nothing'));
          else resolve(response);
        },
      );
    });
  }
}
