import { describe, expect, it } from '@jest/globals';
import { NodeState, type Node, type StatusResponse } from '@cairn/client';
import { rowsOf, showCount, showSize, statusLine, statusLines } from '../src/status-view.js';
import { Terminal } from '../src/terminal.js';

function nodeOf(name: string, change: Partial<Node>): Node {
  return {
    name,
    kind: 0,
    address: '',
    storeId: 0,
    live: true,
    state: NodeState.LIVE,
    leader: false,
    replicas: 0,
    leaders: 0,
    dataBytes: 0,
    diskFreeBytes: 0,
    readsPerSecond: 0,
    writesPerSecond: 0,
    startedUnixMs: 0,
    lastSeenMs: 0,
    release: '0.1.0',
    clusterVersionMin: 1,
    clusterVersionMax: 2,
    ...change,
  };
}

const STATUS: StatusResponse = {
  clusterId: 'c',
  serverVersion: '0.1.0',
  nodes: [
    nodeOf('metadata-1', { leader: true }),
    nodeOf('shard-1', { storeId: 1, replicas: 4, leaders: 2, dataBytes: 3_000_000, writesPerSecond: 12_345 }),
    nodeOf('shard-2', { storeId: 2, replicas: 4, leaders: 2, live: false, state: NodeState.GONE }),
  ],
  ranges: 4,
  rangesWithoutLeader: 1,
  rangesUnderReplicated: 0,
  readsPerSecond: 0.5,
  writesPerSecond: 12_345,
  timestamp: 1,
  givenUpStoreIds: [],
  unsettled: [],
  clusterVersion: 2,
  gcSafePoint: 0,
  gcPinnedBy: '',
  newestClusterVersion: 2,
  upgradeWaits: [],
  problems: ['1 range without a live leader', 'shard nodes not heard from: shard-2'],
};

const NAMES = ['metadata-1', 'shard-1', 'shard-2', 'router-1'];

describe('status', () => {
  it('draws processes and ranges', () => {
    const rows = rowsOf(NAMES, (name) => name !== 'router-1', STATUS);
    expect(statusLines(rows, STATUS)).toEqual([
      'node        state    ranges  leads     data   ops/s',
      'metadata-1  leader',
      'shard-1     up            4      2  2.9 MiB  12.3 k',
      'shard-2     silent        4      2      0 B       0',
      'router-1    stopped',
      '4 ranges (1 range without a live leader; shard nodes not heard from: shard-2), 0.5 reads/s, 12.3 k writes/s',
    ]);
    expect(statusLine(rows, STATUS)).toBe(
      '3 of 4 processes run; 4 ranges (1 range without a live leader; shard nodes not heard from: shard-2), ' +
        '0.5 reads/s, 12.3 k writes/s',
    );
  });

  it('says that a cluster that starts is settling', () => {
    const status = {
      ...STATUS,
      ranges: 0,
      problems: [],
      unsettled: ['the first range is being made'],
    };
    expect(
      statusLine(
        rowsOf(NAMES, () => true, status),
        status,
      ),
    ).toBe(
      '4 of 4 processes run; 0 ranges (settling: the first range is being made), 0.5 reads/s, 12.3 k writes/s',
    );
  });

  it('says so when nobody answers', () => {
    const rows = rowsOf(['shard-1'], () => true, undefined);
    expect(statusLines(rows, undefined)).toEqual([
      'node     state  ranges  leads  data  ops/s',
      'shard-1  up',
      'The routers do not answer right now.',
    ]);
  });

  it.each([
    [0, '0', '0 B'],
    [999, '999', '999 B'],
    [1_536, '1536', '1.5 KiB'],
    [2_500_000, '2.5 M', '2.4 MiB'],
  ])('shows %d as a count and as a size', (value, count, size) => {
    expect([showCount(value), showSize(value)]).toEqual([count, size]);
  });
});

describe('terminal', () => {
  const record = (isTTY: boolean): { text: () => string; terminal: Terminal } => {
    let text = '';
    const stream = { isTTY, columns: 20, write: (more: string) => (text += more) };
    return { text: () => text, terminal: new Terminal(stream) };
  };

  it('keeps the area below what is printed', () => {
    const { text, terminal } = record(true);
    terminal.draw(['one', 'a line that is far wider than the terminal']);
    terminal.print('event');
    terminal.clear();
    const erase = '\u001b[1A\u001b[2K\r'.repeat(2);
    const area = 'one\na line that is far \n';
    expect(text()).toBe(`${area}${erase}event\n${area}${erase}`);
  });

  it('prints only lines without a terminal', () => {
    const { text, terminal } = record(false);
    terminal.draw(['one']);
    terminal.print('event');
    expect(text()).toBe('event\n');
  });
});
