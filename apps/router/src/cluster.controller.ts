import type { ClusterHandlers } from '@cairn/router-node';
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

export const CLUSTER_HANDLERS = Symbol('cluster handlers');

/** The `cairn.v1.Cluster` service. */
@Controller()
export class ClusterController {
  readonly #handlers: ClusterHandlers;

  constructor(@Inject(CLUSTER_HANDLERS) handlers: ClusterHandlers) {
    this.#handlers = handlers;
  }

  @GrpcMethod('Cluster', 'Status')
  status(): Promise<StatusResponse> {
    return answer(() => this.#handlers.status());
  }

  @GrpcMethod('Cluster', 'ListNodes')
  listNodes(): Promise<ListNodesResponse> {
    return answer(() => this.#handlers.listNodes());
  }

  @GrpcMethod('Cluster', 'ListRanges')
  listRanges(request: ListRangesRequest): Promise<ListRangesResponse> {
    return answer(() => this.#handlers.listRanges(request));
  }

  @GrpcMethod('Cluster', 'SplitRanges')
  splitRanges(request: SplitRangesRequest): Promise<SplitRangesResponse> {
    return answer(() => this.#handlers.splitRanges(request));
  }

  @GrpcMethod('Cluster', 'ListSettings')
  listSettings(): Promise<ListSettingsResponse> {
    return answer(() => this.#handlers.listSettings());
  }

  @GrpcMethod('Cluster', 'PutSetting')
  putSetting(request: PutSettingRequest): Promise<Record<string, never>> {
    return answer(() => this.#handlers.putSetting(request));
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
