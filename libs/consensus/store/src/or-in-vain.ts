import type { Clock, Timer } from '@cairn/ports';

import type { StoreLife } from './store-life.js';

const LOOK_MS = 100;

/**
 * Resolves when the work is done: true; or when nobody knows whether it ever will be, because it has no room
 * on the disk, or the store is over: false. How the work fails after that is told to the life of the store;
 * before, it is thrown.
 */
export async function orInVain(
  clock: Clock,
  disk: { readonly isOutOfRoom: boolean },
  life: Pick<StoreLife, 'isOver' | 'fatal'>,
  work: Promise<void>,
): Promise<boolean> {
  let timer: Timer | undefined;
  let isLate = false;
  const inVain = new Promise<boolean>((resolve) => {
    const look = (): void => {
      if (disk.isOutOfRoom || life.isOver) resolve(false);
      else timer = clock.setTimer(LOOK_MS, look);
    };
    timer = clock.setTimer(LOOK_MS, look);
  });
  try {
    const done = work.then(
      () => true,
      (error: unknown) => {
        if (!isLate) throw error;
        life.fatal(error);
        return false;
      },
    );
    return await Promise.race([done, inVain]);
  } finally {
    isLate = true;
    timer?.cancel();
  }
}
