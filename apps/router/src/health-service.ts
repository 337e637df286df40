import { CairnError } from '@cairn/base';
import { toServiceError } from '@cairn/wire';
import {
  status,
  type sendUnaryData,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { service } from 'grpc-health-check';

interface HealthRequest {
  readonly service: string;
}

interface HealthResponse {
  readonly status: 'SERVING' | 'NOT_SERVING' | 'SERVICE_UNKNOWN';
}

/** Of a name that nobody serves, in a sentence. */
const SHOWN_NAME_CHARS = 64;

export const healthServiceDefinition = service as ServiceDefinition;

/**
 * `grpc.health.v1.Health` for services that are all named at the start. That of the library remembers every
 * name that anybody ever watched; here what is watched and not served costs nothing but its call.
 */
export class HealthService {
  readonly #names: ReadonlySet<string>;
  /** Calls that watch a service which is there. */
  readonly #watching = new Set<ServerWritableStream<HealthRequest, HealthResponse>>();
  #status: HealthResponse['status'] = 'NOT_SERVING';

  constructor(names: readonly string[]) {
    this.#names = new Set(names);
  }

  readonly handlers: UntypedServiceImplementation = {
    check: (
      call: ServerUnaryCall<HealthRequest, HealthResponse>,
      callback: sendUnaryData<HealthResponse>,
    ) => {
      if (this.#names.has(call.request.service)) callback(null, { status: this.#status });
      else callback({ ...toServiceError(unknownService(call.request)), code: status.NOT_FOUND });
    },
    watch: (call: ServerWritableStream<HealthRequest, HealthResponse>) => {
      if (!this.#names.has(call.request.service)) {
        // It stays open, as the protocol wants it; no service is added later.
        call.write({ status: 'SERVICE_UNKNOWN' });
        return;
      }
      this.#watching.add(call);
      call.on('cancelled', () => {
        this.#watching.delete(call);
      });
      call.write({ status: this.#status });
    },
    list: (_call: unknown, callback: sendUnaryData<unknown>) => {
      const statuses = Object.fromEntries([...this.#names].map((name) => [name, { status: this.#status }]));
      callback(null, { statuses });
    },
  };

  setServing(isServing: boolean): void {
    this.#status = isServing ? 'SERVING' : 'NOT_SERVING';
    for (const call of this.#watching) call.write({ status: this.#status });
  }
}

function unknownService({ service: name }: HealthRequest): CairnError {
  return new CairnError('INVALID_ARGUMENT', `no service "${name.slice(0, SHOWN_NAME_CHARS)}" is served here`);
}
