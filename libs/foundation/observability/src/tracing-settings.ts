/** Variables of a process. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What this program was told about traces; what it was not told is the environment's to say. */
export interface TracingOptions {
  /** URL that spans go to; empty = tracing is off, undefined = not told. */
  readonly endpoint: string | undefined;
  /** Share of requests without a trace of their own that start one, 0 .. 1. */
  readonly sampleRatio: number;
  /** Whether the share is only what holds where nothing else is said. */
  readonly isSampleRatioDefault: boolean;
  readonly env: Environment;
}

/** How traces leave, where they do. */
export interface TracingSettings {
  readonly endpoint: string;
  /** Who named the endpoint. */
  readonly source: 'setting' | 'environment';
  /** Undefined = the SDK samples, as the environment says. */
  readonly sampleRatio: number | undefined;
  /** The `OTEL_*` variables that the SDK is to see. */
  readonly env: Environment;
}

const PREFIX = 'OTEL_';

/**
 * Where traces go and which ones. A setting of ours goes before the variables of OpenTelemetry, each by
 * itself; `OTEL_SDK_DISABLED` and an `OTEL_TRACES_EXPORTER` of none turn tracing off whatever is set.
 * Undefined = off.
 */
export function tracingSettings(options: TracingOptions): TracingSettings | undefined {
  const said = (name: string): string | undefined => {
    const text = options.env[`${PREFIX}${name}`]?.trim();
    // As the specification has it, an empty variable is one that is not set.
    return text === '' ? undefined : text;
  };
  const named = said('EXPORTER_OTLP_TRACES_ENDPOINT') ?? said('EXPORTER_OTLP_ENDPOINT');
  const endpoint = options.endpoint ?? named ?? '';
  const isOff = said('SDK_DISABLED')?.toLowerCase() === 'true' || said('TRACES_EXPORTER') === 'none';
  if (endpoint === '' || isOff) return undefined;
  const isSampledBySdk = options.isSampleRatioDefault && said('TRACES_SAMPLER') !== undefined;
  return {
    endpoint,
    source: options.endpoint === undefined ? 'environment' : 'setting',
    sampleRatio: isSampledBySdk ? undefined : options.sampleRatio,
    env: {
      ...Object.fromEntries(Object.entries(options.env).filter(([name]) => name.startsWith(PREFIX))),
      ...(options.endpoint === undefined ? {} : { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: options.endpoint }),
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
