import type { Clock, Timer } from '@cairn/ports';

const LOOK_MS = 100;

/**
 * Resolves when the work is done: true; or when it has no room on the disk, which may last: false. How the
 * work fails after that is told to `failedLater`; before, it is thrown.
 */
export async function orOutOfRoom(
  clock: Clock,
  store: { readonly isOutOfRoom: boolean },
  work: Promise<void>,
  failedLater: (error: unknown) => void,
): Promise<boolean> {
  let timer: Timer | undefined;
  let isLate = false;
  const outOfRoom = new Promise<boolean>((resolve) => {
    const look = (): void => {
      if (store.isOutOfRoom) resolve(false);
      else timer = clock.setTimer(LOOK_MS, look);
    };
    timer = clock.setTimer(LOOK_MS, look);
  });
  try {
    const done = work.then(
      () => true,
      (error: unknown) => {
        if (!isLate) throw error;
        failedLater(error);
        return false;
      },
    );
    return await Promise.race([done, outOfRoom]);
  } finally {
    isLate = true;
    timer?.cancel();
  }
}
