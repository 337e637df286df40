import { KVService } from './gen/cairn/v1/kv.js';
import { decodeBatchRequest } from './grpc-batch-request.js';
import { encodeBatchResponse } from './grpc-batch-response.js';

/**
 * The public service for `Server.addService`: the generated definition with the hand-written codec on the
 * stream.
 */
export const kvServiceDefinition = {
  ...KVService,
  batch: {
    ...KVService.batch,
    requestDeserialize: decodeBatchRequest,
    responseSerialize: encodeBatchResponse,
  },
} as const;
