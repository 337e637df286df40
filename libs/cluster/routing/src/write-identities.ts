import type { Timestamp } from '@cairn/base';
import type { KvRequest, RequestIdentity } from '@cairn/wire';

/** Names the writes that come without a request id, so that the router may send them again. */
export class WriteIdentities {
  readonly #client: number;
  #sequence = 0;

  /** `client`: 1 .. 2^48 - 1, drawn by chance. */
  constructor(client: number) {
    this.#client = client;
  }

  /**
   * A write without an identity gets one. One that its client has made stays as it is: the sending may have
   * been on its way for long, and the client may have had the write applied through another router since.
   * Only the stamp tells.
   */
  identify(request: KvRequest, stamp: Timestamp): void {
    if (request.requestId !== undefined) return;
    this.#sequence += 1;
    request.requestId = { client: this.#client, sequence: this.#sequence, stamp, isRetry: false };
  }

  /** Whether the identity is from here: then nobody else has sent the write. */
  isOwn({ client }: RequestIdentity): boolean {
    return client === this.#client;
  }
}
