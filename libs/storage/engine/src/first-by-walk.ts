import type { EngineIterator, FirstRow } from './types.js';

/** The first row of an iterator, which this closes: the point read of engines that have none of their own. */
export async function firstByWalk(iterator: EngineIterator): Promise<FirstRow> {
  try {
    const [row] = await iterator.next(1);
    return row;
  } finally {
    await iterator.close();
  }
}
