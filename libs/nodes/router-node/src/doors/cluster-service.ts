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

import type { ClusterAdmin } from '../cluster-admin.js';

/** Handlers of the `cairn.v1.Cluster` service, without what carries them. They reject with CairnError. */
export interface ClusterHandlers {
  status(): Promise<StatusResponse>;
  listNodes(): Promise<ListNodesResponse>;
  listRanges(request: ListRangesRequest): Promise<ListRangesResponse>;
  splitRanges(request: SplitRangesRequest): Promise<SplitRangesResponse>;
  listEngines(request: ListEnginesRequest): Promise<ListEnginesResponse>;
  compactEngine(request: CompactEngineRequest): Promise<Record<string, never>>;
  debug(request: DebugRequest): Promise<DebugResponse>;
  listSettings(): Promise<ListSettingsResponse>;
  putSetting(request: PutSettingRequest): Promise<Record<string, never>>;
  listHolds(): Promise<ListHoldsResponse>;
  putHold(request: PutHoldRequest): Promise<PutHoldResponse>;
  deleteHold(request: DeleteHoldRequest): Promise<DeleteHoldResponse>;
}

export function clusterHandlers(admin: ClusterAdmin): ClusterHandlers {
  return {
    status: () => admin.status(),
    listNodes: async () => ({ nodes: await admin.nodes() }),
    listRanges: (request) => admin.ranges(request.start, request.limit),
    splitRanges: async (request) => ({ created: await admin.split(request.keys) }),
    listEngines: async ({ storeId }) => ({ engines: await admin.engines(storeId) }),
    compactEngine: async (request) => {
      await admin.compact(request);
      return {};
    },
    debug: (request) => admin.debug(request),
    listSettings: async () => ({ settings: await admin.settings() }),
    putSetting: async (request) => {
      const { name, value, more } = request;
      await admin.putSettings([{ name, value }, ...more]);
      return {};
    },
    listHolds: () => admin.holds(),
    putHold: async (request) => ({ hold: await admin.putHold(request) }),
    deleteHold: async ({ name }) => ({ deleted: await admin.deleteHold(name) }),
  };
}
