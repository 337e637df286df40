/** An engine as somebody else may write it: rows in memory, under a name of its own. */
import { MemoryEngine } from '@cairn/engine';

class ForeignEngine extends MemoryEngine {
  async stats() {
    return { ...(await super.stats()), engine: 'foreign' };
  }
}

export default { name: 'foreign', open: () => Promise.resolve(new ForeignEngine()) };
