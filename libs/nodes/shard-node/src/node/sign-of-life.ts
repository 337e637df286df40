import { assert, messageOf, rethrowInvariant } from '@cairn/base';
import { sleep, type Clock, type Logger } from '@cairn/ports';

import type { MetadataAccess } from './metadata-access.js';

const SIGN_INTERVAL_MS = 1_000;

export interface SignOfLifeParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metadata: Pick<MetadataAccess, 'timestamp'>;
}

/**
 * To open a store may take minutes in which there are no heartbeats, and a process of which the metadata
 * service has no session counts as ended: a copy of this directory would be taken for the node. So it is
 * asked for something every second while `open` runs. Settles as `open` does.
 */
export async function aliveWhile<T>(parts: SignOfLifeParts, open: () => Promise<T>): Promise<T> {
  const { clock, logger, metadata } = parts;
  const opening = new AbortController();
  const showLife = async (): Promise<void> => {
    while (!opening.signal.aborted) {
      await metadata.timestamp().catch((error: unknown) => {
        rethrowInvariant(error);
        if (opening.signal.aborted) return;
        logger.info('metadata not reached while the store is opened', { reason: messageOf(error) });
      });
      await sleep(clock, SIGN_INTERVAL_MS, opening.signal);
    }
  };
  showLife().catch((error: unknown) => {
    rethrowInvariant(error);
    assert(opening.signal.aborted, 'only the end of the opening ends it', { error: messageOf(error) });
  });
  try {
    return await open();
  } finally {
    opening.abort();
  }
}
