import type { Clock, Timer } from '@cairn/ports';

const LOOK_MS = 100;

/** Resolves when the work is done: true; or when it has no room on the disk, which may last: false. */
export async function orOutOfRoom(
  clock: Clock,
  store: { readonly isOutOfRoom: boolean },
  work: Promise<void>,
): Promise<boolean> {
  let timer: Timer | undefined;
  const outOfRoom = new Promise<boolean>((resolve) => {
    const look = (): void => {
      if (store.isOutOfRoom) resolve(false);
      else timer = clock.setTimer(LOOK_MS, look);
    };
    timer = clock.setTimer(LOOK_MS, look);
  });
  try {
    return await Promise.race([work.then(() => true), outOfRoom]);
  } finally {
    timer?.cancel();
  }
}
