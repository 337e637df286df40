export {
  createHealthServer,
  type HealthServer,
  type HealthServerOptions,
  type Readiness,
} from './health-server.js';
export {
  createLogger,
  createLoggerTo,
  type LoggerOptions,
  type LogLevel,
  type ProcessLogger,
} from './logger.js';
export { createMetrics, type MetricsOptions, type ProcessMetrics } from './metrics.js';
export { createTelemetry, type Telemetry, type TelemetryOptions } from './telemetry.js';
export { startTracer, type ProcessTracer, type TracerOptions } from './tracer.js';
