import { CairnError } from '@cairn/base';
import type { Clock, Logger, Transport } from '@cairn/ports';
import { createRpcClient, openSession, type Hello } from '@cairn/wire';

import type { MetadataConnection } from './metadata-client.js';

export interface MetadataConnectorOptions {
  readonly transport: Transport;
  /** Asked for every connection: the cluster id is known only after the join. Purpose `rpc`. */
  readonly hello: () => Hello;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The `connect` of a `MetadataClient` over the framed transport. */
export function metadataConnector(
  options: MetadataConnectorOptions,
): (address: string) => MetadataConnection {
  const { transport, clock, logger } = options;
  return (address) => {
    const session = openSession({
      transport,
      address,
      hello: options.hello(),
      clock,
      logger,
      isOther: (remote) => otherThanMember(address, remote),
      handlers: {
        onFrame: (type, body) => {
          client.onFrame(type, body);
        },
        onClose: (error) => {
          client.onClose(error);
        },
      },
    });
    const client = createRpcClient(session, { clock });
    return {
      rpc: client,
      get isClosed() {
        return session.isClosed;
      },
      close: () => {
        session.close();
      },
    };
  };
}

/** An address that is wrong, or that another node has by now: members at the other addresses are asked. */
function otherThanMember(address: string, { kind, name }: Hello): CairnError | undefined {
  if (kind === 'metadata') return undefined;
  return new CairnError(
    'UNAVAILABLE',
    `${name} at ${address} is a ${kind}, no member of the metadata service`,
  );
}
