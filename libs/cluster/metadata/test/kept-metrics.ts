import type { Metrics } from '@cairn/ports';

/** What a member counts, by metric and label values. */
export class KeptMetrics implements Metrics {
  readonly #values = new Map<string, number>();
  readonly #collectors: (() => void)[] = [];

  counter: Metrics['counter'] = (name) => ({
    add: (value, labels) => {
      const key = keyOf(name, labels);
      this.#values.set(key, (this.#values.get(key) ?? 0) + value);
    },
  });

  gauge: Metrics['gauge'] = (name) => ({
    set: (value, labels) => this.#values.set(keyOf(name, labels), value),
  });

  histogram: Metrics['histogram'] = () => ({ observe: () => undefined });

  onCollect(callback: () => void): void {
    this.#collectors.push(callback);
  }

  valueOf(name: string, ...labels: string[]): number {
    for (const collect of this.#collectors) collect();
    return this.#values.get([name, ...labels].join('/')) ?? 0;
  }
}

function keyOf(name: string, labels: Readonly<Record<string, string>> | undefined): string {
  return [name, ...Object.values(labels ?? {})].join('/');
}
