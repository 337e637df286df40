/**
 * One scheduled callback. `sequence` breaks ties, so that events of one instant run in the order of
 * scheduling.
 */
export interface SimEvent {
  readonly atMs: number;
  readonly sequence: number;
  /** Cleared when cancelled: the event is then skipped when its time comes. */
  callback: (() => void) | undefined;
}

function before(left: SimEvent, right: SimEvent): boolean {
  return left.atMs < right.atMs || (left.atMs === right.atMs && left.sequence < right.sequence);
}

/** Binary heap ordered by (time, sequence): a total order, hence the same run every time. */
export class EventHeap {
  readonly #items: SimEvent[] = [];

  get size(): number {
    return this.#items.length;
  }

  peek(): SimEvent | undefined {
    return this.#items[0];
  }

  push(event: SimEvent): void {
    const items = this.#items;
    let at = items.length;
    items.push(event);
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = items[parentAt] as SimEvent;
      if (before(parent, event)) break;
      items[at] = parent;
      at = parentAt;
    }
    items[at] = event;
  }

  pop(): SimEvent | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (top === undefined || last === undefined || top === last) return top;
    let at = 0;
    for (;;) {
      let childAt = at * 2 + 1;
      if (childAt >= items.length) break;
      if (childAt + 1 < items.length && before(items[childAt + 1] as SimEvent, items[childAt] as SimEvent)) {
        childAt += 1;
      }
      const child = items[childAt] as SimEvent;
      if (before(last, child)) break;
      items[at] = child;
      at = childAt;
    }
    items[at] = last;
    return top;
  }
}
