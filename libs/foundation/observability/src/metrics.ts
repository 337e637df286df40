import { assert } from '@cairn/base';
import type { Counter, Gauge, Histogram, Metrics } from '@cairn/ports';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { exposeHeader, exposeHistogram, exposeNumber } from './exposition.js';
import { bucketOf, CellMap, type HistogramCell, type Labels, type NumberCell } from './metric-cells.js';

const NAME = /^cairn_[a-z][a-z0-9]*(_[a-z0-9]+)*$/;
const LABEL_NAME = /^[a-z][a-z0-9_]*$/;

/**
 * Gauges of prom-client with the ending of counters, which promtool rejects; each is the sum of one without
 * it.
 */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];

/** The metrics port of a process together with its exposition. */
export interface ProcessMetrics extends Metrics {
  /** Everything in the Prometheus text format; runs the collect callbacks first. */
  render(): Promise<string>;
  readonly contentType: string;
}

export interface MetricsOptions {
  /** Labels on every series. */
  readonly labels?: Labels;
  /** Also the metrics of the process itself: CPU, memory, event loop delay, garbage collection. */
  readonly processMetrics: boolean;
}

type Instrument = Counter | Gauge | Histogram;

interface Registered {
  /** Everything but the name, to notice a second declaration that says something else. */
  readonly shape: string;
  readonly instrument: Instrument;
  readonly expose: () => string;
}

/**
 * Counting is ours, because it runs on hot paths: a cell found by identity and one addition. The metrics of
 * the process come from prom-client.
 */
class ProcessMetricsRegistry implements ProcessMetrics {
  readonly contentType = 'text/plain; version=0.0.4; charset=utf-8';
  readonly #labels: Labels;
  readonly #process: Registry | undefined;
  readonly #registered = new Map<string, Registered>();
  readonly #collectors: (() => void)[] = [];

  constructor(options: MetricsOptions) {
    this.#labels = options.labels ?? {};
    if (!options.processMetrics) return;
    this.#process = new Registry();
    this.#process.setDefaultLabels(this.#labels);
    collectDefaultMetrics({ register: this.#process });
    for (const name of MISNAMED) this.#process.removeSingleMetric(name);
  }

  async render(): Promise<string> {
    for (const collect of this.#collectors) collect();
    let text = '';
    for (const { expose } of this.#registered.values()) text += expose();
    return this.#process === undefined ? text : text + (await this.#process.metrics());
  }

  onCollect(callback: () => void): void {
    this.#collectors.push(callback);
  }

  counter(name: string, help: string, labels: readonly string[] = []): Counter {
    assert(name.endsWith('_total'), 'a counter is named …_total', { name });
    return this.#once(name, labels, ['counter', help, ...labels], () => {
      const cells = new CellMap<NumberCell>(name, labels, () => ({ value: 0 }));
      const counter: Counter = {
        add(value, given) {
          assert(value >= 0, 'a counter only goes up');
          cells.cell(given).value += value;
        },
      };
      return { instrument: counter, expose: () => this.#exposeNumbers(name, help, 'counter', cells) };
    }) as Counter;
  }

  gauge(name: string, help: string, labels: readonly string[] = []): Gauge {
    return this.#once(name, labels, ['gauge', help, ...labels], () => {
      const cells = new CellMap<NumberCell>(name, labels, () => ({ value: 0 }));
      const gauge: Gauge = {
        set(value, given) {
          cells.cell(given).value = value;
        },
      };
      return { instrument: gauge, expose: () => this.#exposeNumbers(name, help, 'gauge', cells) };
    }) as Gauge;
  }

  histogram(
    name: string,
    help: string,
    buckets: readonly number[],
    labels: readonly string[] = [],
  ): Histogram {
    const ascending = buckets.every((bound, at) => at === 0 || bound > (buckets[at - 1] ?? bound));
    assert(buckets.length > 0 && ascending, 'histogram buckets ascend', { name });
    const bounds = [...buckets];
    return this.#once(name, labels, ['histogram', help, ...bounds.map(String), ...labels], () => {
      const cells = new CellMap<HistogramCell>(name, labels, () => ({
        counts: new Float64Array(bounds.length + 1),
        sum: 0,
        count: 0,
      }));
      const histogram: Histogram = {
        observe(value, given) {
          const cell = cells.cell(given);
          const bucket = bucketOf(bounds, value);
          cell.counts[bucket] = (cell.counts[bucket] ?? 0) + 1;
          cell.sum += value;
          cell.count += 1;
        },
      };
      const expose = (): string => {
        let text = exposeHeader(name, help, 'histogram');
        for (const { labels: given, cell } of cells.entries()) {
          text += exposeHistogram(name, { ...this.#labels, ...given }, bounds, cell);
        }
        return text;
      };
      return { instrument: histogram, expose };
    }) as Histogram;
  }

  #exposeNumbers(name: string, help: string, type: 'counter' | 'gauge', cells: CellMap<NumberCell>): string {
    let text = exposeHeader(name, help, type);
    for (const { labels, cell } of cells.entries())
      text += exposeNumber(name, { ...this.#labels, ...labels }, cell);
    return text;
  }

  /**
   * One instrument per name: the same declaration again returns the first one, a different one is a
   * mistake.
   */
  #once(
    name: string,
    labels: readonly string[],
    shapeParts: readonly string[],
    create: () => Omit<Registered, 'shape'>,
  ): Instrument {
    assert(NAME.test(name), 'metric names are cairn_<what>_<unit>', { name });
    for (const label of labels) {
      const free = LABEL_NAME.test(label) && label !== 'le' && !(label in this.#labels);
      assert(free, 'label names are lower case and not taken', { name, label });
    }
    const shape = JSON.stringify(shapeParts);
    const known = this.#registered.get(name);
    assert(known === undefined || known.shape === shape, 'a metric is declared twice, differently', { name });
    if (known !== undefined) return known.instrument;
    const created = create();
    this.#registered.set(name, { shape, instrument: created.instrument, expose: created.expose });
    return created.instrument;
  }
}

/** The metrics of a process. */
export function createMetrics(options: MetricsOptions): ProcessMetrics {
  return new ProcessMetricsRegistry(options);
}
