import { describe, expect, it } from '@jest/globals';
import { rangeId, type RangeDescriptor } from '@cairn/base';
import { noopLogger } from '@cairn/ports';

import { HeldReplicas } from './held-replicas.js';
import { OwnRows, without } from './own-rows.js';
import type { RecoveredReplica } from './recovered-replicas.js';
import type { Replica } from './replica.js';
import { SpanIndex } from './span-index.js';
import type { EngineSpan } from './state-machine.js';

const bytes = (text: string): Buffer => Buffer.from(text);
const span = (text: string): EngineSpan => ({ start: bytes(text.charAt(0)), end: bytes(text.charAt(1)) });
const shown = (spans: readonly EngineSpan[]): string =>
  spans.map(({ start, end }) => Buffer.concat([start, end]).toString()).join(' ');
const minus = (spans: string, others: string): string =>
  shown(without(spans.split(' ').map(span), others === '' ? [] : others.split(' ').map(span)));

describe('spans without others', () => {
  it.each([
    ['bf', '', 'bf'],
    ['bf', 'ab', 'bf'],
    ['bf', 'fg', 'bf'],
    ['bf', 'ac', 'cf'],
    ['bf', 'eg', 'be'],
    ['bf', 'bc', 'cf'],
    ['bf', 'ef', 'be'],
    ['bf', 'ce', 'bc ef'],
    ['bf', 'bf', ''],
    ['bf', 'ag', ''],
    ['bf', 'cd de', 'bc ef'],
    ['bf hk', 'ci', 'bc ik'],
    ['bf hk', 'ak', ''],
  ])('are, of %s without "%s", "%s"', (spans, others, left) => {
    expect(minus(spans, others)).toBe(left);
  });
});

describe('the rows that go with a range', () => {
  const range = (id: number, version: number, keys: string): RangeDescriptor => ({
    rangeId: rangeId(id),
    startKey: bytes(keys.charAt(0)),
    endKey: bytes(keys.charAt(1)),
    epoch: { version, confVersion: 1 },
    replicas: [],
  });
  /** Here and held, as one store has them; rows lie where the keys do, those without end below `~`. */
  function ownRows(here: readonly RangeDescriptor[], held: readonly RangeDescriptor[]): OwnRows {
    const spans = new SpanIndex<Replica>();
    for (const descriptor of here) spans.add({ descriptor } as unknown as Replica);
    const waiting = new HeldReplicas();
    for (const one of held) waiting.add({ rangeId: one.rangeId } as unknown as RecoveredReplica, one);
    const spansOf = ({ startKey, endKey }: RangeDescriptor): EngineSpan[] => [
      { start: startKey, end: endKey.length === 0 ? bytes('~') : endKey },
    ];
    return new OwnRows({ spans, held: waiting, logger: noopLogger, spansOf });
  }

  it('are all of its spans where nobody else has keys of it', () => {
    const own = range(1, 1, 'm');
    expect(shown(ownRows([own, range(2, 1, 'am')], [range(3, 2, 'aa')]).of(own))).toBe('m~');
  });

  it('are not those of ranges that were cut off it, here or waiting for room', () => {
    const own = range(1, 1, 'a');
    expect(shown(ownRows([own, range(2, 2, 'cd'), range(3, 3, 'de')], [range(4, 2, 'x')]).of(own))).toBe(
      'ac ex',
    );
  });

  it('are those of a range that was cut off another, which has not heard of it', () => {
    const own = range(2, 2, 'cd');
    expect(shown(ownRows([range(1, 1, 'a'), own], [range(3, 1, 'a')]).of(own))).toBe('cd');
  });
});
