import { createRequire } from 'node:module';
import { join } from 'node:path';
import { CairnError } from '@cairn/base';
import { fromServiceError } from '@cairn/wire';
import {
  Client,
  credentials,
  Metadata,
  type ClientDuplexStream,
  type MethodDefinition,
  type ServiceDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';
import { ROOT } from './programs.js';

const require = createRequire(import.meta.url);

function load(path: string, includeDirs: readonly string[]): PackageDefinition {
  return loadSync(path, {
    includeDirs: [...includeDirs],
    keepCase: true,
    longs: Number,
    enums: String,
    defaults: true,
    oneofs: true,
  });
}

/** Everything the tests call, from the files that any other client would use. */
const DEFINITIONS: PackageDefinition = {
  ...load('cairn/v1/kv.proto', [join(ROOT, 'proto')]),
  ...load('cairn/v1/cluster.proto', [join(ROOT, 'proto')]),
  ...load(join(require.resolve('grpc-health-check/package.json'), '../proto/health/v1/health.proto'), []),
  ...load(
    join(
      require.resolve('@grpc/reflection/package.json'),
      '../build/proto/grpc/reflection/v1/reflection.proto',
    ),
    [],
  ),
};

/** A message as proto-loader gives and takes it: fields by their names in the files. */
export type Message = Readonly<Record<string, unknown>>;

export interface UnaryOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 10_000;
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;

function methodOf(service: string, method: string): MethodDefinition<object, object> {
  const found = (DEFINITIONS[service] as ServiceDefinition | undefined)?.[method];
  if (found === undefined) throw new CairnError('INVALID_ARGUMENT', `there is no ${service}/${method}`);
  return found as MethodDefinition<object, object>;
}

/**
 * A gRPC client that knows nothing of ours but the protocol files: checks nothing, hides nothing, repeats
 * nothing.
 */
export class RawClient {
  readonly #client: Client;

  constructor(address: string) {
    this.#client = new Client(address, credentials.createInsecure(), {
      'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
      'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
      // Connections of their own: what breaks one client must not be seen by another because of sharing.
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  close(): void {
    this.#client.close();
  }

  /** Rejects with what the status and its details say, as a CairnError whose cause is the gRPC error. */
  unary(service: string, method: string, request: Message, options: UnaryOptions = {}): Promise<Message> {
    const { path, requestSerialize, responseDeserialize } = methodOf(service, method);
    const headers = new Metadata();
    for (const [name, value] of Object.entries(options.headers ?? {})) headers.set(name, value);
    const deadline = new Date(Date.now() + (options.timeoutMs ?? TIMEOUT_MS));
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        headers,
        { deadline },
        (error, response) => {
          if (error !== null) reject(fromServiceError(error));
          else resolve(response as Message);
        },
      );
    });
  }

  /** All messages of a server stream. */
  serverStream(service: string, method: string, request: Message): Promise<Message[]> {
    const { path, requestSerialize, responseDeserialize } = methodOf(service, method);
    const deadline = new Date(Date.now() + TIMEOUT_MS);
    const call = this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, {
      deadline,
    });
    const messages: Message[] = [];
    return new Promise((resolve, reject) => {
      call.on('data', (message: Message) => messages.push(message));
      call.on('error', (error: ServiceError) => reject(fromServiceError(error)));
      call.on('end', () => resolve(messages));
    });
  }

  /** A bidirectional stream whose messages can also be sent as bytes. */
  duplex(service: string, method: string): RawStream {
    const { path, requestSerialize, responseDeserialize } = methodOf(service, method);
    const call = this.#client.makeBidiStreamRequest(
      path,
      (message: Message | Buffer) => (Buffer.isBuffer(message) ? message : requestSerialize(message)),
      responseDeserialize,
    );
    return new RawStream(call);
  }
}

/** One open bidirectional stream. */
export class RawStream {
  readonly #call: ClientDuplexStream<Message | Buffer, object>;
  readonly #messages: Message[] = [];
  #error: CairnError | undefined;
  #isOver = false;

  constructor(call: ClientDuplexStream<Message | Buffer, object>) {
    this.#call = call;
    call.on('data', (message: Message) => this.#messages.push(message));
    call.on('error', (error: ServiceError) => {
      this.#error = fromServiceError(error);
      this.#isOver = true;
    });
    call.on('end', () => (this.#isOver = true));
  }

  /** What arrived so far, in order. */
  get messages(): readonly Message[] {
    return this.#messages;
  }

  /** What it ended with; undefined while it is open, or when it ended well. */
  get error(): CairnError | undefined {
    return this.#error;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  send(message: Message | Buffer): void {
    this.#call.write(message);
  }

  end(): void {
    this.#call.end();
  }

  cancel(): void {
    this.#call.cancel();
  }
}
