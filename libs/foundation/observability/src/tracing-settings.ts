import { CairnError } from '@cairn/base';

/** Variables of a process. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What this program was told about traces; what it was not told is the environment's to say. */
export interface TracingOptions {
  /**
   * URL that spans go to, without a path to `/v1/traces` there; empty = tracing is off, undefined = not told.
   */
  readonly endpoint: string | undefined;
  /** Share of requests without a trace of their own that start one, 0 .. 1. */
  readonly sampleRatio: number;
  /** Whether the share is only what holds where nothing else is said. */
  readonly isSampleRatioDefault: boolean;
  readonly env: Environment;
}

/** How traces leave, where they do. */
export interface TracingSettings {
  /** Where spans go, as a whole. */
  readonly endpoint: string;
  /** Who named the endpoint. */
  readonly source: 'setting' | 'environment';
  /** Undefined = the SDK samples, as the environment says. */
  readonly sampleRatio: number | undefined;
  /** The `OTEL_*` variables that the SDK is to see. */
  readonly env: Environment;
}

const PREFIX = 'OTEL_';
/** Where a collector takes traces over HTTP. */
const TRACES_PATH = 'v1/traces';

type Said = (name: string) => string | undefined;

/**
 * The whole URL of an endpoint, as the SDK would make it of its variables, so that a line of the log can name
 * it; of a setting of ours, which may name the host alone, too. gRPC has no path.
 */
function urlOf(setting: string | undefined, said: Said): string {
  const ofTraces = said('EXPORTER_OTLP_TRACES_ENDPOINT');
  const endpoint = setting ?? ofTraces ?? said('EXPORTER_OTLP_ENDPOINT') ?? '';
  if (endpoint === '') return '';
  if ((said('EXPORTER_OTLP_TRACES_PROTOCOL') ?? said('EXPORTER_OTLP_PROTOCOL')) === 'grpc') {
    if (/^https?:\/\/[^\s/]+|^[^\s/]+:\d+$/.test(endpoint)) return endpoint;
    throw unusable(
      `the endpoint of traces is "${shownEndpoint(endpoint)}", which is neither an http:// or https:// URL nor host:port`,
    );
  }
  const url = URL.parse(endpoint);
  if (url === null || !/^https?:$/.test(url.protocol))
    throw unusable(
      `the endpoint of traces is "${shownEndpoint(endpoint)}", which is not an http:// or https:// URL`,
    );
  if (setting === undefined && ofTraces === undefined) return `${endpoint.replace(/\/$/, '')}/${TRACES_PATH}`;
  if (setting !== undefined && url.pathname === '/') url.pathname = TRACES_PATH;
  return url.href;
}

function unusable(sentence: string): CairnError {
  return new CairnError('INVALID_ARGUMENT', sentence);
}

/**
 * Where traces go and which ones. A setting of ours goes before the variables of OpenTelemetry, each by
 * itself; `OTEL_SDK_DISABLED` and an `OTEL_TRACES_EXPORTER` of none turn tracing off whatever is set.
 * Undefined = off. Throws INVALID_ARGUMENT for an endpoint or an exporter that there is none of.
 */
export function tracingSettings(options: TracingOptions): TracingSettings | undefined {
  const said = (name: string): string | undefined => {
    const text = options.env[`${PREFIX}${name}`]?.trim();
    // As the specification has it, an empty variable is one that is not set.
    return text === '' ? undefined : text;
  };
  const exporter = said('TRACES_EXPORTER');
  if (said('SDK_DISABLED')?.toLowerCase() === 'true' || exporter === 'none') return undefined;
  const endpoint = urlOf(options.endpoint, said);
  if (endpoint === '') return undefined;
  // The SDK has others, of which some write between the lines of the log and none asks for this endpoint.
  if (exporter !== undefined && exporter !== 'otlp')
    throw unusable(`${PREFIX}TRACES_EXPORTER is "${exporter}"; it must be otlp or none`);
  const isSampledBySdk = options.isSampleRatioDefault && said('TRACES_SAMPLER') !== undefined;
  return {
    endpoint,
    source: options.endpoint === undefined ? 'environment' : 'setting',
    sampleRatio: isSampledBySdk ? undefined : options.sampleRatio,
    env: {
      ...Object.fromEntries(Object.entries(options.env).filter(([name]) => name.startsWith(PREFIX))),
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: endpoint,
      // The share was drawn before the SDK is asked.
      ...(isSampledBySdk ? {} : { OTEL_TRACES_SAMPLER: 'always_on' }),
      // The others tell of the machine, its users and the arguments of the process.
      OTEL_NODE_RESOURCE_DETECTORS: said('NODE_RESOURCE_DETECTORS') ?? 'env',
      // Metrics and logs have ways of their own.
      ...{ OTEL_METRICS_EXPORTER: 'none', OTEL_LOGS_EXPORTER: 'none' },
      // It would write text between the lines of the log.
      OTEL_LOG_LEVEL: undefined,
    },
  };
}

/**
 * An endpoint as the log may show it: without a user, a password and a query, in which collectors take keys.
 */
export function shownEndpoint(endpoint: string): string {
  return endpoint.replace(/[?#].*$/s, '').replace(/^([a-z][a-z0-9+.-]*:\/\/)?[^/]*@/i, '$1');
}
