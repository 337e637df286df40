import { toServiceError } from '@cairn/wire';
import type {
  ListNodesResponse,
  ListRangesRequest,
  ListRangesResponse,
  ListSettingsResponse,
  PutSettingRequest,
  SplitRangesRequest,
  SplitRangesResponse,
  StatusResponse,
} from '@cairn/wire/gen/cairn/v1/cluster.js';
import { Controller, Inject } from '@nestjs/common';
import { GrpcMethod, RpcException } from '@nestjs/microservices';

import type { ClusterAdmin } from '../cluster-admin.js';

export const CLUSTER_ADMIN = Symbol('cluster admin');

/** The `cairn.v1.Cluster` service. */
@Controller()
export class ClusterController {
  readonly #admin: ClusterAdmin;

  constructor(@Inject(CLUSTER_ADMIN) admin: ClusterAdmin) {
    this.#admin = admin;
  }

  @GrpcMethod('Cluster', 'Status')
  status(): Promise<StatusResponse> {
    return answer(() => this.#admin.status());
  }

  @GrpcMethod('Cluster', 'ListNodes')
  listNodes(): Promise<ListNodesResponse> {
    return answer(async () => ({ nodes: await this.#admin.nodes() }));
  }

  @GrpcMethod('Cluster', 'ListRanges')
  listRanges(request: ListRangesRequest): Promise<ListRangesResponse> {
    return answer(() => this.#admin.ranges(request.start, request.limit));
  }

  @GrpcMethod('Cluster', 'SplitRanges')
  splitRanges(request: SplitRangesRequest): Promise<SplitRangesResponse> {
    return answer(async () => ({ created: await this.#admin.split(request.keys) }));
  }

  @GrpcMethod('Cluster', 'ListSettings')
  listSettings(): Promise<ListSettingsResponse> {
    return answer(async () => ({ settings: await this.#admin.settings() }));
  }

  @GrpcMethod('Cluster', 'PutSetting')
  putSetting(request: PutSettingRequest): Promise<Record<string, never>> {
    return answer(async () => {
      await this.#admin.putSetting(request.name, request.value);
      return {};
    });
  }
}

/** What is thrown reaches the client as a status with a `cairn.v1.ErrorDetail`, as from the other doors. */
async function answer<Response>(work: () => Promise<Response>): Promise<Response> {
  try {
    return await work();
  } catch (error) {
    throw new RpcException(toServiceError(error));
  }
}
