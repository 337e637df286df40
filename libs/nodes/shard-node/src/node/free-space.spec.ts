import type { Disk } from '@cairn/ports';
import { describe, expect, it } from '@jest/globals';

import { ManualClock } from '../kv/kv-rig.testing.js';
import { FreeSpace } from './free-space.js';

describe('the free space of a disk', () => {
  it('is what it was the last time while the file system hangs, and is asked for once', async () => {
    const clock = new ManualClock();
    const asked: PromiseWithResolvers<number>[] = [];
    const freeBytes = (): Promise<number> => {
      const answer = Promise.withResolvers<number>();
      asked.push(answer);
      return answer.promise;
    };
    const space = new FreeSpace({ clock, disk: { freeBytes } as unknown as Disk, directory: '/data' });
    const first = space.look();
    asked[0]?.resolve(700);
    expect(await first).toBe(700);
    for (let again = 0; again < 3; again += 1) {
      const look = space.look();
      await clock.advance(1_000);
      expect(await look).toBe(700);
    }
    expect(asked).toHaveLength(2);
    asked[1]?.resolve(300);
    await clock.advance(1);
    const last = space.look();
    asked[2]?.resolve(200);
    expect(await last).toBe(200);
  });

  it('is refused as the file system does', async () => {
    const freeBytes = (): Promise<number> => Promise.reject(new Error('EIO'));
    const space = new FreeSpace({
      clock: new ManualClock(),
      disk: { freeBytes } as unknown as Disk,
      directory: '/data',
    });
    await expect(space.look()).rejects.toThrow('EIO');
  });
});
