/**
 * Runs `work` for 0 .. count-1 with at most `window` of them unfinished. Starts no more after a failure;
 * rejects with the first one, once what was started has settled.
 */
export async function forEachWindowed(
  count: number,
  window: number,
  work: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  let failure: { readonly error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    while (next < count && failure === undefined) {
      const index = next;
      next += 1;
      try {
        await work(index);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(window, count) }, worker));
  if (failure !== undefined) throw failure.error;
}
