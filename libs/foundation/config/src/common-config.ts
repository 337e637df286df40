import { addressField, choiceField, millisecondsField, ratioField, textField } from './fields.js';

/** Fields that every server process has. */
export const commonFields = {
  httpListen: addressField({
    description: 'Where /metrics, /healthz and /readyz are served over HTTP. Port 0 = any free port.',
    default: '127.0.0.1:0',
  }),
  logLevel: choiceField({
    description: 'Lines below this level are dropped.',
    choices: ['debug', 'info', 'warn', 'error'],
    default: 'info',
  }),
  logFile: textField({
    description: 'File that log lines (JSON, one per line) are appended to. Empty = standard output.',
    default: '',
  }),
  otlpEndpoint: textField({
    description:
      'URL that traces are sent to as OTLP, for example http://127.0.0.1:4318; without a path to /v1/traces ' +
      'there. Not given = OTEL_EXPORTER_OTLP_ENDPOINT says where, or there are none; given and empty = none in ' +
      'any case.',
    default: '',
  }),
  traceSampleRatio: ratioField({
    description:
      'Share of requests without a trace of their own that start one here. Requests that bring a sampled trace are ' +
      'always continued. Not given = OTEL_TRACES_SAMPLER goes before the default. Without effect while there are no traces.',
    default: 0.01,
  }),
  shutdownTimeoutMs: millisecondsField({
    description:
      'After a stop signal, work in flight gets this long to finish; then the process leaves anyway.',
    default: 10_000,
    min: 0,
    max: 600_000,
  }),
} as const;

/** Relations between the common fields. */
export function checkCommon(values: { readonly otlpEndpoint: string }): string[] {
  if (values.otlpEndpoint === '' || /^https?:\/\/[^\s/]+/.test(values.otlpEndpoint)) return [];
  return [
    `otlpEndpoint is "${values.otlpEndpoint}": it must be empty or begin with http:// or https:// and a host.`,
  ];
}
