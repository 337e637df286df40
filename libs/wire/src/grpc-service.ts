import { KVService } from './gen/cairn/v1/kv.js';
import { decodeBatchRequest } from './grpc-batch-request.js';
import { encodeBatchResponse } from './grpc-batch-response.js';
import { encodeScanPage } from './packed-rows.js';

/**
 * The public service for `Server.addService`: the generated definition with hand-written codecs on the
 * streams.
 */
export const kvServiceDefinition = {
  ...KVService,
  batch: {
    ...KVService.batch,
    requestDeserialize: decodeBatchRequest,
    responseSerialize: encodeBatchResponse,
  },
  scan: {
    ...KVService.scan,
    responseSerialize: encodeScanPage,
  },
} as const;
