import { Client, credentials } from '@grpc/grpc-js';
import { decodeStatusResponse, type EtcdStatus } from './etcd-codec.js';

const STATUS = '/etcdserverpb.Maintenance/Status';
const TIMEOUT_MS = 2_000;
const NOTHING = Buffer.alloc(0);

/** Asks one member. Rejects when it does not answer. */
export function etcdStatus(endpoint: string): Promise<EtcdStatus> {
  const client = new Client(endpoint, credentials.createInsecure());
  const status = new Promise<EtcdStatus>((resolve, reject) => {
    client.makeUnaryRequest<undefined, EtcdStatus>(
      STATUS,
      () => NOTHING,
      decodeStatusResponse,
      undefined,
      { deadline: Date.now() + TIMEOUT_MS },
      (error, answer) => {
        if (error !== null) reject(error);
        else if (answer === undefined) reject(new Error('etcd answered a Status with nothing'));
        else resolve(answer);
      },
    );
  });
  return status.finally(() => client.close());
}

/** Place of the member that all name as their leader; undefined while they do not agree. */
export function agreedLeader(statuses: readonly EtcdStatus[]): number | undefined {
  const leaders = new Set(statuses.map(({ leaderId }) => leaderId));
  const [leaderId] = leaders;
  const at = statuses.findIndex(({ memberId }) => memberId === leaderId);
  return leaders.size === 1 && at >= 0 ? at : undefined;
}

/** All agree on a leader, and have applied the same. */
export function areCaughtUp(statuses: readonly EtcdStatus[]): boolean {
  const applied = new Set(statuses.map(({ raftAppliedIndex }) => raftAppliedIndex));
  return agreedLeader(statuses) !== undefined && applied.size === 1;
}
