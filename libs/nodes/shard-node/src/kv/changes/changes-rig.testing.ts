import { timestamp, type Timestamp } from '@cairn/base';
import {
  CHANGES_BYTES_MIN,
  decodeChangesReply,
  encodeChangesRequest,
  KvOp,
  type Change,
  type ChangesReply,
  type ChangesRequest,
  type KvRequest,
  type KvResponse,
} from '@cairn/wire';

import { answerOf, bytes, KvRig, type RequestFields, type RigOptions, type Sent } from '../kv-rig.testing.js';
import { TxnRig } from '../txn/txn-rig.testing.js';

export type Page = Extract<ChangesReply, { type: 'page' }>;

/** A question about everything, from now on, that waits. */
export function questionOf(fields: Partial<ChangesRequest>, more: Partial<KvRequest> = {}): RequestFields {
  const asked: ChangesRequest = {
    ...{ start: bytes(''), end: bytes(''), after: timestamp(0), index: 0, rangeId: 7, resume: bytes('') },
    ...{ withPrevious: false, waitMs: 5_000, bytesMax: CHANGES_BYTES_MIN },
    ...fields,
  };
  return { op: KvOp.changes, key: asked.start, value: encodeChangesRequest(asked), ...more };
}

export function replyIn(response: KvResponse): ChangesReply {
  if (response.error !== undefined) throw new Error(`${response.error.code}: ${response.error.message}`);
  return decodeChangesReply(response.value ?? bytes(''));
}

export function pageOf(sent: Sent): Page {
  const reply = replyIn(answerOf(sent));
  if (reply.type !== 'page') throw new Error(`a ${reply.type} instead of a page`);
  return reply;
}

/** `a=1`, `b-`; with what was there before: `a=1(0)`. */
export function textOf({ key, type, value, previous }: Change): string {
  const before = previous === undefined ? '' : `(${Buffer.from(previous.value).toString('latin1')})`;
  const name = Buffer.from(key).toString('latin1');
  return (type === 'delete' ? `${name}-` : `${name}=${Buffer.from(value).toString('latin1')}`) + before;
}

export function textsOf({ changes }: Page): string[] {
  return changes.map(textOf);
}

/** One range, and a router that asks what was changed in it. */
export class ChangesRig {
  readonly kv: KvRig;
  readonly txn: TxnRig;
  /** What the router was told last: what it asks with next. */
  index = 0;
  after = timestamp(0);
  resume: Uint8Array = bytes('');

  constructor(kv: KvRig) {
    this.kv = kv;
    this.txn = new TxnRig(kv);
  }

  static async leading(options: RigOptions = {}): Promise<ChangesRig> {
    return new ChangesRig(await KvRig.leading(options));
  }

  /** Asks once what is new since `after`, so that the ring is there. */
  static async following(options: RigOptions = {}): Promise<ChangesRig> {
    const rig = await ChangesRig.leading(options);
    await rig.poll();
    return rig;
  }

  send(fields: Partial<ChangesRequest> = {}, more: Partial<KvRequest> = {}): Sent {
    const { after, index, resume } = this;
    return this.kv.send(questionOf({ after, index, resume, ...fields }, more));
  }

  /** Asks, without waiting, and takes in the page. */
  async poll(fields: Partial<ChangesRequest> = {}, more: Partial<KvRequest> = {}): Promise<Page> {
    const sent = this.send({ waitMs: 0, ...fields }, more);
    await this.kv.run();
    return this.take(sent);
  }

  /** All pages until one is whole. */
  async pollAll(fields: Partial<ChangesRequest> = {}): Promise<Page[]> {
    const pages = [await this.poll(fields)];
    while (this.resume.length > 0 || (pages.at(-1) as Page).resolved === 0) {
      if (pages.length > 1_000) throw new Error('no end');
      pages.push(await this.poll(fields));
    }
    return pages;
  }

  take(sent: Sent): Page {
    const page = pageOf(sent);
    this.index = page.index;
    this.resume = page.resume;
    this.after = timestamp(Math.max(this.after, page.resolved));
    return page;
  }

  /** The router knows nothing any more. */
  forget(): void {
    this.index = 0;
    this.after = timestamp(0);
    this.resume = bytes('');
  }

  /** A timestamp that the oracle issues, and that the range hears of. */
  async hear(): Promise<Timestamp> {
    return this.kv.environment.timestamps.fetch();
  }
}
