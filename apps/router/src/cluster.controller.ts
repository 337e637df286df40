import type { ClusterHandlers } from '@cairn/router-node';
import { toServiceError } from '@cairn/wire';
import type {
  CompactEngineRequest,
  DebugRequest,
  DebugResponse,
  DeleteHoldRequest,
  DeleteHoldResponse,
  ListEnginesRequest,
  ListEnginesResponse,
  ListHoldsResponse,
  ListNodesResponse,
  ListRangesRequest,
  ListRangesResponse,
  ListSettingsResponse,
  PutHoldRequest,
  PutHoldResponse,
  PutSettingRequest,
  SplitRangesRequest,
  SplitRangesResponse,
  StatusResponse,
} from '@cairn/wire/gen/cairn/v1/cluster.js';
import type { Metadata } from '@grpc/grpc-js';
import { Controller, Inject } from '@nestjs/common';
import { GrpcMethod, RpcException } from '@nestjs/microservices';

import { ClusterGate, type ClusterCall, type ClusterCallKind } from './cluster-gate.js';

export const CLUSTER_HANDLERS = Symbol('cluster handlers');

/** The `cairn.v1.Cluster` service. */
@Controller()
export class ClusterController {
  readonly #handlers: ClusterHandlers;
  readonly #gate: ClusterGate;

  constructor(@Inject(CLUSTER_HANDLERS) handlers: ClusterHandlers, @Inject(ClusterGate) gate: ClusterGate) {
    this.#handlers = handlers;
    this.#gate = gate;
  }

  @GrpcMethod('Cluster', 'Status')
  status(_request: object, _metadata: Metadata, call: ClusterCall): Promise<StatusResponse> {
    return this.#answer('looking', call, () => this.#handlers.status());
  }

  @GrpcMethod('Cluster', 'ListNodes')
  listNodes(_request: object, _metadata: Metadata, call: ClusterCall): Promise<ListNodesResponse> {
    return this.#answer('looking', call, () => this.#handlers.listNodes());
  }

  @GrpcMethod('Cluster', 'ListRanges')
  listRanges(
    request: ListRangesRequest,
    _metadata: Metadata,
    call: ClusterCall,
  ): Promise<ListRangesResponse> {
    return this.#answer('looking', call, () => this.#handlers.listRanges(request));
  }

  @GrpcMethod('Cluster', 'SplitRanges')
  splitRanges(
    request: SplitRangesRequest,
    _metadata: Metadata,
    call: ClusterCall,
  ): Promise<SplitRangesResponse> {
    return this.#answer('steering', call, () => this.#handlers.splitRanges(request));
  }

  @GrpcMethod('Cluster', 'ListEngines')
  listEngines(
    request: ListEnginesRequest,
    _metadata: Metadata,
    call: ClusterCall,
  ): Promise<ListEnginesResponse> {
    return this.#answer('looking', call, () => this.#handlers.listEngines(request));
  }

  @GrpcMethod('Cluster', 'CompactEngine')
  compactEngine(
    request: CompactEngineRequest,
    _metadata: Metadata,
    call: ClusterCall,
  ): Promise<Record<string, never>> {
    return this.#answer('steering', call, () => this.#handlers.compactEngine(request));
  }

  @GrpcMethod('Cluster', 'Debug')
  debug(request: DebugRequest, _metadata: Metadata, call: ClusterCall): Promise<DebugResponse> {
    return this.#answer('looking', call, () => this.#handlers.debug(request));
  }

  @GrpcMethod('Cluster', 'ListSettings')
  listSettings(_request: object, _metadata: Metadata, call: ClusterCall): Promise<ListSettingsResponse> {
    return this.#answer('looking', call, () => this.#handlers.listSettings());
  }

  @GrpcMethod('Cluster', 'PutSetting')
  putSetting(
    request: PutSettingRequest,
    _metadata: Metadata,
    call: ClusterCall,
  ): Promise<Record<string, never>> {
    return this.#answer('steering', call, () => this.#handlers.putSetting(request));
  }

  @GrpcMethod('Cluster', 'ListHolds')
  listHolds(_request: object, _metadata: Metadata, call: ClusterCall): Promise<ListHoldsResponse> {
    return this.#answer('looking', call, () => this.#handlers.listHolds());
  }

  @GrpcMethod('Cluster', 'PutHold')
  putHold(request: PutHoldRequest, _metadata: Metadata, call: ClusterCall): Promise<PutHoldResponse> {
    return this.#answer('steering', call, () => this.#handlers.putHold(request));
  }

  @GrpcMethod('Cluster', 'DeleteHold')
  deleteHold(
    request: DeleteHoldRequest,
    _metadata: Metadata,
    call: ClusterCall,
  ): Promise<DeleteHoldResponse> {
    return this.#answer('steering', call, () => this.#handlers.deleteHold(request));
  }

  /** What is thrown reaches the client as a status with a `cairn.v1.ErrorDetail`, as from the other doors. */
  async #answer<Response>(
    kind: ClusterCallKind,
    call: ClusterCall,
    work: () => Promise<Response>,
  ): Promise<Response> {
    try {
      return await this.#gate.run(kind, call, work);
    } catch (error) {
      throw new RpcException(toServiceError(error));
    }
  }
}
