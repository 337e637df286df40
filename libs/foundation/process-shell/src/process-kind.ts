import type { ConfigDefinition, ConfigSchema } from '@cairn/config';
import type { LogLevel, ProcessMetrics } from '@cairn/observability';
import type { Clock, Disk, LogFields, Logger, Rng, Tracer, Transport } from '@cairn/ports';
import type { z } from 'zod';

/** Settings that the shell itself reads. */
export interface ShellConfig {
  readonly name: string;
  readonly httpListen: string;
  readonly logLevel: LogLevel;
  readonly logFile: string;
  readonly otlpEndpoint: string;
  readonly traceSampleRatio: number;
  readonly shutdownTimeoutMs: number;
  /** Of processes that keep something. */
  readonly dataDirectory?: string;
}

/** The machine, as a process is given it. */
export interface ProcessPorts {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly disk: Disk;
  readonly transport: Transport;
}

/** What the shell gives to the part that does the work. */
export interface ShellContext<Config> {
  readonly config: Config;
  readonly logger: Logger;
  readonly metrics: ProcessMetrics;
  readonly tracer: Tracer;
  /** `host:port` of /metrics, /healthz and /readyz. */
  readonly publicAddress: string;
  /** What a part that is being opened waits for, in sentences; empty = for nobody. Shown by /readyz. */
  onWaiting(reasons: readonly string[]): void;
  /**
   * The part is broken and nothing may be acknowledged any more: the process ends at once, without a stop.
   */
  onFatal(error: Error): void;
  /**
   * What to do as the very last thing when the process is told to stop while the part is being opened: nobody
   * waits for the part then, and `close` is not called. The last one that is told counts.
   */
  onAbandoned(giveBack: () => Promise<void>): void;
  /** Ends the process at once with this sentence: nothing is broken, but somebody has to change something. */
  endWith(error: Error): void;
}

/** The part that does the work, open. */
export interface RunningPart {
  /** For the log line that says so: its addresses. */
  readonly listens: LogFields;
  /** Why it cannot do its work now, one sentence each; empty = it can. */
  readiness(): readonly string[];
  close(): Promise<void>;
}

/** What tells one kind of process from the others. */
export interface ProcessKind<Schema extends ConfigSchema & z.ZodType<ShellConfig>> {
  /** Its name is that of the program: in log lines, in traces, and before the sentence it ends with. */
  readonly config: ConfigDefinition<Schema>;
  /** In sentences and log lines: "shard node". */
  readonly what: string;
  /**
   * What `close` may take beyond `shutdownTimeoutMs`, for parts that keep to that by themselves. Default 0.
   */
  readonly closeGraceMs?: number;
  open(context: ShellContext<z.output<Schema>>, ports: ProcessPorts): Promise<RunningPart>;
}
