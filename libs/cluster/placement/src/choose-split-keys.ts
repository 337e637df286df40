import { assert } from '@cairn/base';

import { compareBytes } from './compare-bytes.js';
import { refuse, type Refusal } from './decision.js';

/**
 * A key met while walking a range, and the bytes from it up to the next sampled key (or the end of the
 * range).
 */
export interface KeySample {
  readonly key: Uint8Array;
  readonly bytes: number;
}

export interface ChooseSplitKeysRequest {
  /** First key of the range, inclusive; empty = from the beginning. */
  readonly startKey: Uint8Array;
  /** First key past the range; empty = to the end. */
  readonly endKey: Uint8Array;
  /** In strictly ascending key order, all inside the range. */
  readonly samples: readonly KeySample[];
  /** A range with fewer bytes than this stays whole. */
  readonly splitBytes: number;
  /** About the size of the parts; below `splitBytes`. */
  readonly targetBytes: number;
  /** At most so many cuts at once, 1... */
  readonly keysMax: number;
}

export type ChooseSplitKeysRefusal = 'small-enough' | 'no-cut-possible';

export type ChooseSplitKeysDecision =
  { readonly decided: true; readonly keys: readonly Uint8Array[] } | Refusal<ChooseSplitKeysRefusal>;

/**
 * Where to cut a range that has grown too large: into `round(total / targetBytes)` parts of about equal size,
 * at least two and at most `keysMax + 1`. Each cut is the sampled key whose distance in bytes from the ideal
 * cut is least. Keys are strictly inside the range, ascending, and views of the samples. Samples coarser than
 * the parts give fewer cuts.
 */
export function chooseSplitKeys(request: ChooseSplitKeysRequest): ChooseSplitKeysDecision {
  const { samples, splitBytes, targetBytes, keysMax } = request;
  assert(targetBytes > 0 && targetBytes < splitBytes, 'parts must be smaller than what is split', {
    targetBytes,
    splitBytes,
  });
  assert(Number.isSafeInteger(keysMax) && keysMax > 0, 'at least one cut must be allowed', { keysMax });
  checkSamples(request);
  let total = 0;
  for (const sample of samples) total += sample.bytes;
  if (total < splitBytes) return refuse('small-enough', `${total} bytes are below ${splitBytes}`);

  const parts = Math.max(2, Math.min(Math.round(total / targetBytes), keysMax + 1));
  const keys = cut(request, total, parts);
  if (keys.length === 0) {
    return refuse(
      'no-cut-possible',
      `${total} bytes sit behind one key: ${samples.length} samples, none inside`,
    );
  }
  return { decided: true, keys };
}

function checkSamples(request: ChooseSplitKeysRequest): void {
  const { samples, startKey, endKey } = request;
  for (let i = 0; i < samples.length; i += 1) {
    const { key, bytes } = samples[i] as KeySample;
    assert(bytes >= 0, 'a sample has a negative size', { bytes });
    assert(compareBytes(key, startKey) >= 0, 'a sample lies before its range', { at: i });
    assert(endKey.length === 0 || compareBytes(key, endKey) < 0, 'a sample lies past its range', { at: i });
    const previous = samples[i - 1];
    assert(previous === undefined || compareBytes(previous.key, key) < 0, 'samples are out of order', {
      at: i,
    });
  }
}

/**
 * Walks the samples once; `before` is the number of bytes left of the sample, so cutting there gives the left
 * side that much.
 */
function cut(request: ChooseSplitKeysRequest, total: number, parts: number): Uint8Array[] {
  const { samples, startKey } = request;
  const keys: Uint8Array[] = [];
  let before = 0;
  let best: KeySample | undefined;
  let bestDistance = Infinity;
  let part = 1;
  const settle = (): void => {
    if (best !== undefined && best.key !== keys.at(-1)) keys.push(best.key);
    best = undefined;
    bestDistance = Infinity;
    part += 1;
  };
  for (const sample of samples) {
    // The first key of the range is no cut: its left side would be empty.
    const isInside = compareBytes(sample.key, startKey) > 0 && before > 0;
    while (isInside && part < parts) {
      const distance = Math.abs(before - (total * part) / parts);
      // Behind a sample without bytes the distance stays the same, and may fall again.
      if (distance <= bestDistance) {
        best = sample;
        bestDistance = distance;
        break;
      }
      // Distances only grow from here on: the best is known; this sample competes for the next cut.
      settle();
    }
    before += sample.bytes;
  }
  if (part < parts) settle();
  return keys;
}
