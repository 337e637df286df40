import { constants, type Http2Server, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';

import { CairnError } from '@cairn/base';
import type { Clock, Counter, Metrics } from '@cairn/ports';
import {
  clusterServiceDefinition,
  completedFailure,
  isWritingCall,
  kvServiceDefinition,
  notDecoded,
  STATUS_DETAILS_KEY,
  toServiceError,
  txnServiceDefinition,
  watchServiceDefinition,
} from '@cairn/wire';
import type { CutOff } from '@cairn/router-node';
import {
  Server,
  ServerInterceptingCall,
  status,
  type handleBidiStreamingCall,
  type Metadata,
  type ServerInterceptingCallInterface,
  type ServerOptions,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';

import { FLOOD_OPTIONS, FLOOD_SETTINGS, type ControlFrames } from './control-frames.js';
import { OpenStreams, refuseCall, type OpenStream } from './open-streams.js';
import { PartialMessages } from './partial-messages.js';
import { Unpacker } from './unpacker.js';

type PartialStatus = Parameters<ServerInterceptingCallInterface['sendStatus']>[0];

/** Decoders of ours for the methods that another library describes to the server. */
const DECODERS: ReadonlyMap<string, (bytes: Buffer) => unknown> = new Map(
  [
    ...Object.values(kvServiceDefinition),
    ...Object.values(txnServiceDefinition),
    ...Object.values(watchServiceDefinition),
    ...Object.values(clusterServiceDefinition),
  ].map((method) => [method.path, method.requestDeserialize]),
);

/** What the library keeps to itself. */
interface Http2Maker {
  readonly commonServerOptions: { readonly settings?: object };
  createHttp2Server(credentials: unknown): Http2Server;
}

/** Headers of a call that are not gRPC's own, names and values. */
const METADATA_BYTES_MAX = 16 * 1024;
/** Requests of health and reflection name a service, a symbol or a file. */
const NAME_REQUEST_BYTES_MAX = 4 * 1024;
/** Before each message: whether it is packed, and its length. */
const FRAME_HEADER_BYTES = 5;

/** The library counts milliseconds in 32 bits, and takes a longer time for one that is over. */
const TIMEOUT_S_MAX = Math.floor((2 ** 31 - 1) / 1_000);
const SECONDS_BY_UNIT: Readonly<Record<string, number>> = { H: 3_600, M: 60, S: 1 };

/** Statuses that grpc-js calls INTERNAL although the caller sent something wrong. */
const CALLERS_FAULT = /^Invalid grpc-timeout value/;

/** What the library's innermost call of the server keeps to itself. */
interface CallOverHttp2 {
  readonly stream: ServerHttp2Stream;
}

/**
 * A call that can be ended without its client's help: a status waits behind what the client does not take.
 */
class EndableCall extends ServerInterceptingCall {
  readonly #inner: ServerInterceptingCallInterface;

  constructor(...given: ConstructorParameters<typeof ServerInterceptingCall>) {
    super(...given);
    [this.#inner] = given;
  }

  /** What was written and not taken is dropped; gRPC clients read this code as RESOURCE_EXHAUSTED. */
  reset(): void {
    (this.#inner as unknown as CallOverHttp2).stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }
}

/** Ends a call that this server handed to a handler. A spec notices when the library keeps it elsewhere. */
export const cutOff: CutOff = (call) => {
  (call as unknown as { readonly call: EndableCall }).call.reset();
};

/** What a request was that cannot be decoded: grpc-js would answer INTERNAL and say nothing. */
class RefusedMessage {
  readonly failure: ReturnType<typeof toServiceError>;

  constructor(failure: ReturnType<typeof toServiceError>) {
    this.failure = failure;
  }
}

/**
 * A gRPC server whose every call ends with a status of ours: whatever grpc-js answers by itself (unknown
 * methods, deadlines, sizes, compression) and whatever cannot be decoded gets a `cairn.v1.ErrorDetail` too.
 * Counts how calls end.
 */
export class DoorServer extends Server {
  readonly #calls: Counter;
  /** Made once: metrics find their cells by the identity of the label object. */
  readonly #okLabels = new Map<string, Readonly<Record<string, string>>>();

  readonly #unpacker: Unpacker;
  readonly #partial: PartialMessages;
  readonly #streams: OpenStreams;
  readonly #clock: Clock;
  readonly #controlFrames: ControlFrames;
  readonly #callerGone: (peer: string) => void;

  constructor(
    options: ServerOptions & { readonly 'grpc.max_receive_message_length': number },
    {
      clock,
      metrics,
      controlFrames,
      callerGone,
    }: {
      readonly clock: Clock;
      readonly metrics: Metrics;
      readonly controlFrames: ControlFrames;
      /** A connection is over: nobody calls from there any more. */
      readonly callerGone: (peer: string) => void;
    },
  ) {
    super({
      ...options,
      interceptors: [(method, call) => this.#keep(method.path, call)],
    });
    this.#calls = metrics.counter(
      'cairn_router_calls_total',
      'gRPC calls that ended, by method and status; a stream is one call',
      ['method', 'code'],
    );
    this.#clock = clock;
    this.#streams = new OpenStreams(clock, metrics);
    this.#partial = new PartialMessages(clock, metrics);
    this.#unpacker = new Unpacker(options['grpc.max_receive_message_length'], { clock, metrics });
    this.#controlFrames = controlFrames;
    this.#callerGone = callerGone;
    this.#watchSessions();
    this.#answerUnknownMethods();
  }

  override addService(service: ServiceDefinition, implementation: UntypedServiceImplementation): void {
    const methods = Object.entries(service).map(([name, method]) => {
      const decode = DECODERS.get(method.path) ?? shortOnly(method.requestDeserialize);
      return [name, { ...method, requestDeserialize: (bytes: Buffer) => decodedOrRefused(decode, bytes) }];
    });
    super.addService(Object.fromEntries(methods) as ServiceDefinition, held(service, implementation));
  }

  /** Watches a call from its beginning to its end. */
  #keep(path: string, call: ServerInterceptingCallInterface): ServerInterceptingCall {
    const send = call.sendStatus.bind(call);
    const over = new AbortController();
    const peer = call.getPeer();
    // The library unpacks without a bound on how many; a spec notices when it does not ask here any more.
    Object.assign(call, {
      decompressMessage: (message: Buffer, encoding: string) => {
        const bytes = message.subarray(FRAME_HEADER_BYTES);
        return encoding === 'identity' ? bytes : this.#unpacker.unpack(peer, bytes, encoding, over.signal);
      },
    });
    const partialOver = this.#partial.watch(peer, call);
    let isCounted = false;
    let isRead = false;
    let isRefused = false;
    let stream: OpenStream | undefined;
    const count = (code: number): void => {
      if (!isCounted) this.#count(path, code);
      isCounted = true;
    };
    // The library's own statuses do not pass through responders, but all of them go through this method.
    call.sendStatus = (said) => {
      partialOver();
      const whole = wholeStatus(path, said);
      count(whole.code ?? status.UNKNOWN);
      send(whole);
    };
    return new EndableCall(call, {
      start: (next) => {
        next({
          onReceiveMetadata: (metadata, pass) => {
            const bytes = bytesOf(metadata);
            if (bytes <= METADATA_BYTES_MAX) {
              stream = this.#streams.open(peer, call, bytes);
              isRefused = stream === undefined;
              if (!isRefused) pass(metadata);
              return;
            }
            isRefused = true;
            const details = `the headers of the call have ${bytes} bytes; the limit is ${METADATA_BYTES_MAX}`;
            refuseCall(call, details);
          },
          onReceiveMessage: (message: unknown, pass) => {
            isRead = true;
            stream?.heard(this.#clock.nowMs());
            if (message instanceof RefusedMessage) call.sendStatus(message.failure);
            else pass(message);
          },
          onCancel: () => {
            const isCut = stream?.isCut === true;
            count(isCut ? status.RESOURCE_EXHAUSTED : status.CANCELLED);
            if (!isRead && !isRefused && !isCut) this.#controlFrames.resetEarly(peer);
            partialOver();
            over.abort();
          },
        });
      },
    });
  }

  #count(path: string, code: number): void {
    if (code !== status.OK) {
      this.#calls.add(1, { method: methodOf(path), code: status[code] ?? 'UNKNOWN' });
      return;
    }
    let labels = this.#okLabels.get(path);
    if (labels === undefined) {
      labels = { method: methodOf(path), code: 'OK' };
      this.#okLabels.set(path, labels);
    }
    this.#calls.add(1, labels);
  }

  /**
   * The library makes its HTTP/2 servers itself: they get the bounds that Node has and it does not pass, and
   * their sessions are watched. A spec notices when that place is gone.
   */
  #watchSessions(): void {
    const library = this as unknown as Http2Maker;
    const { settings } = library.commonServerOptions;
    Object.assign(library.commonServerOptions, FLOOD_OPTIONS, {
      settings: { ...settings, ...FLOOD_SETTINGS },
    });
    const create = library.createHttp2Server.bind(this);
    library.createHttp2Server = (given) =>
      create(given)
        .on('session', (session) => {
          this.#controlFrames.watch(session);
          // As the library names the peer of a call.
          const { remoteAddress = '', remotePort = 0 } = session.socket;
          session.once('close', () => {
            this.#callerGone(`${remoteAddress}:${remotePort}`);
          });
        })
        // Before the library looks at them.
        .prependListener('stream', (stream, headers) => {
          shortenTimeout(headers);
          // The library answers what is no gRPC by itself, and would leave it open for as long as its client
          // does.
          if (headers['content-type']?.startsWith('application/grpc') === true) return;
          stream.once('finish', () => {
            stream.close(constants.NGHTTP2_NO_ERROR);
          });
        });
  }

  /**
   * grpc-js answers calls of unknown methods before anybody is asked. The one place that looks methods up is
   * replaced, so that such a call goes the way of all others; a spec notices when that place is gone.
   */
  #answerUnknownMethods(): void {
    const unknown: handleBidiStreamingCall<unknown, unknown> = (call) => {
      call.emit('error', completedFailure(status.UNIMPLEMENTED, 'the server has no such method', false));
    };
    const handlers = new Map<string, unknown>();
    const absent = {
      func: unknown,
      serialize: (): Buffer => Buffer.alloc(0),
      deserialize: (): undefined => undefined,
      type: 'bidi',
      path: UNKNOWN_METHOD,
    };
    const register = this.register.bind(this);
    Object.assign(this, {
      register: (...given: Parameters<Server['register']>) => {
        const [path, func, serialize, deserialize, type] = given;
        handlers.set(path, { func, serialize, deserialize, type, path });
        return register(...given);
      },
      _retrieveHandler: (path: string) => handlers.get(path) ?? absent,
    });
  }
}

/**
 * Streams of services that are not ours (reflection) answer each message without looking whether anybody
 * takes the answers: then nothing more is read from them.
 */
function held(
  service: ServiceDefinition,
  implementation: UntypedServiceImplementation,
): UntypedServiceImplementation {
  const handlers = { ...implementation };
  for (const [name, { path, requestStream, originalName }] of Object.entries(service)) {
    const key = handlers[name] === undefined && originalName !== undefined ? originalName : name;
    const handler = handlers[key] as handleBidiStreamingCall<unknown, unknown> | undefined;
    if (handler === undefined || !requestStream || DECODERS.has(path)) continue;
    handlers[key] = (call: Parameters<typeof handler>[0]) => {
      const write = call.write.bind(call) as (answer: unknown) => boolean;
      call.write = (answer: unknown) => {
        const isTaken = write(answer);
        if (!isTaken) {
          call.pause();
          call.once('drain', () => call.resume());
        }
        return isTaken;
      };
      handler.call(implementation, call);
    };
  }
  return handlers;
}

const UNKNOWN_METHOD = '/unknown';

/** `/cairn.v1.KV/Get` is `KV/Get`; what is none of our methods is `unknown`, whatever it was called. */
function methodOf(path: string): string {
  if (path === UNKNOWN_METHOD) return 'unknown';
  return path.slice(1).replace(/^cairn\.v1\./, '');
}

/** What the library keeps to itself would cost a copy of all headers to ask for; a spec notices its end. */
function bytesOf(metadata: Metadata): number {
  const { internalRepr } = metadata as unknown as {
    readonly internalRepr: ReadonlyMap<string, readonly (string | Buffer)[]>;
  };
  let bytes = 0;
  for (const [name, values] of internalRepr) {
    for (const value of values) bytes += name.length + value.length;
  }
  return bytes;
}

function decodedOrRefused(decode: (bytes: Buffer) => unknown, bytes: Buffer): unknown {
  try {
    return decode(bytes);
  } catch (error) {
    return new RefusedMessage(toServiceError(notDecoded(error)));
  }
}

function shortenTimeout(headers: IncomingHttpHeaders): void {
  const timeout = headers['grpc-timeout'];
  if (typeof timeout !== 'string') return;
  const seconds = Number(timeout.slice(0, -1)) * (SECONDS_BY_UNIT[timeout.slice(-1)] ?? 0);
  if (seconds > TIMEOUT_S_MAX) headers['grpc-timeout'] = `${TIMEOUT_S_MAX}S`;
}

/** Of services that are not ours: whatever long name they are asked for, they keep it, or answer with it. */
function shortOnly(decode: (bytes: Buffer) => unknown): (bytes: Buffer) => unknown {
  return (bytes) => {
    if (bytes.length <= NAME_REQUEST_BYTES_MAX) return decode(bytes);
    throw new CairnError(
      'INVALID_ARGUMENT',
      `the request has ${bytes.length} bytes; the limit of this method is ${NAME_REQUEST_BYTES_MAX}`,
    );
  };
}

function wholeStatus(path: string, said: PartialStatus): PartialStatus {
  const code = said.code ?? status.UNKNOWN;
  if (code === status.OK || (said.metadata?.get(STATUS_DETAILS_KEY).length ?? 0) > 0) return said;
  const details = said.details ?? '';
  const isCallersFault = code === status.INTERNAL && CALLERS_FAULT.test(details);
  return isCallersFault
    ? completedFailure(status.INVALID_ARGUMENT, details, false)
    : completedFailure(code, details, isWritingCall(path));
}
