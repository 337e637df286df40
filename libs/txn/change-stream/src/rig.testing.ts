import { CairnError, timestamp } from '@cairn/base';
import { noopMetrics, type Metrics } from '@cairn/ports';
import { SimRng } from '@cairn/runtime-sim';

import { ChangeStreams } from './change-streams.js';
import { bytes, type FakeRanges } from './fake-ranges.testing.js';
import type { StreamLimits } from './limits.js';
import { textOf } from './spans.js';
import type { Watch, WatchFrom, WatchOptions, WatchOutput } from './types.js';

/** What a watch was told, as text. */
export interface Told {
  readonly key: string;
  readonly value: string | undefined;
  readonly timestamp: number;
  readonly start: number;
  readonly previous: string | undefined;
  readonly token: Buffer;
}

/** The change streams of one router before ranges that others may use, too. */
export function streamsOf(
  ranges: FakeRanges,
  limits: Partial<StreamLimits> = {},
  metrics: Metrics = noopMetrics,
): ChangeStreams {
  return new ChangeStreams({
    ...{ source: ranges, clock: ranges.process.clock, rng: new SimRng('streams'), metrics, limits },
    encode: ({ key, value, type, timestamp: at, start, previous }, token) =>
      bytes(
        JSON.stringify({
          ...{ key: textOf(key), value: type === 'put' ? textOf(value) : undefined, timestamp: at, start },
          previous: previous && textOf(previous.value),
          token: token.toString('hex'),
        }),
      ),
  });
}

export function optionsOf(start: string, end: string, more: Partial<WatchOptions> = {}): WatchOptions {
  return {
    ...{ span: { start: bytes(start), end: bytes(end) }, from: { type: 'now' }, withPrevious: false },
    ...{ progressMs: 5_000, caller: 'caller', ...more },
  };
}

export function toldBy(output: WatchOutput): Told[] {
  if (output.type !== 'changes') return [];
  return output.events.map(({ encoded }) => {
    const told = JSON.parse(Buffer.from(encoded).toString()) as Omit<Told, 'token'> & { token: string };
    return { ...told, token: Buffer.from(told.token, 'hex') };
  });
}

/** A caller that takes everything as it comes, and keeps it. */
export class Taker {
  readonly watch: Watch;
  readonly told: Told[] = [];
  readonly outputs: WatchOutput[] = [];
  /** Where it would go on. */
  token: Buffer | undefined;
  error: CairnError | undefined;

  constructor(watch: Watch) {
    this.watch = watch;
    void this.#run();
  }

  get values(): string[] {
    return this.told.map(({ key, value }) => `${key}=${value ?? ''}`);
  }

  get reset(): Extract<WatchOutput, { type: 'reset' }> | undefined {
    const last = this.outputs[this.outputs.length - 1];
    return last?.type === 'reset' ? last : undefined;
  }

  async #run(): Promise<void> {
    try {
      for (;;) {
        const output = await this.watch.read();
        this.outputs.push(output);
        const told = toldBy(output);
        this.told.push(...told);
        this.token = output.type === 'progress' ? output.token : (told[told.length - 1]?.token ?? this.token);
      }
    } catch (error) {
      if (!CairnError.is(error)) throw error;
      this.error = error;
    }
  }
}

export const fromTimestamp = (at: number): WatchFrom => ({ type: 'timestamp', timestamp: timestamp(at) });
export const fromToken = (token: Buffer): WatchFrom => ({ type: 'token', token });
