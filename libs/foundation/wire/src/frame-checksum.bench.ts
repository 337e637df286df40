import type { MicroBenchmark } from '@cairn/base';

import { checkedBody, frameHead } from './frame-checksum.js';
import { FrameType } from './session-types.js';

const FRAMES = 256;

/** What the checksum of frames costs, on both sides: no answer, a small turn, a busy one, a large value. */
export function benchmarks(): MicroBenchmark[] {
  return [0, 40, 320, 20_000, 1_048_576].flatMap((bytes) => {
    const body = Buffer.alloc(bytes, 'cairn');
    const parts = [body];
    const frame = Buffer.concat([frameHead(FrameType.kvRequests, parts), body]);
    const repeat = (work: () => void) => (): void => {
      for (let at = 0; at < FRAMES; at += 1) work();
    };
    return [
      {
        name: `head of a frame of ${bytes} bytes`,
        operations: FRAMES,
        run: repeat(() => frameHead(FrameType.kvRequests, parts)),
      },
      {
        name: `check of a frame of ${bytes} bytes`,
        operations: FRAMES,
        run: repeat(() => {
          checkedBody(frame);
        }),
      },
    ];
  });
}
