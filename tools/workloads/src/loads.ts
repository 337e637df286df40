import { BankLoad } from './bank.js';
import { ListAppendLoad } from './list-append.js';
import type { Load, LoadName, LoadOptions } from './load.js';
import { LongForkLoad } from './long-fork.js';
import { MixedLoad } from './mixed.js';
import { MonotonicLoad } from './monotonic.js';
import { SetsLoad } from './sets.js';
import { WatchLoad } from './watch.js';
import { WriteSkewLoad } from './write-skew.js';

/** A load of this name with an empty history. */
export function newLoad(name: LoadName, options: LoadOptions = {}): Load {
  switch (name) {
    case 'bank':
      return new BankLoad(options);
    case 'list-append':
      return new ListAppendLoad(options);
    case 'sets':
      return new SetsLoad(options);
    case 'long-fork':
      return new LongForkLoad(options);
    case 'write-skew':
      return new WriteSkewLoad();
    case 'monotonic':
      return new MonotonicLoad(options);
    case 'mixed':
      return new MixedLoad(options);
    case 'watch':
      return new WatchLoad(options);
  }
}
