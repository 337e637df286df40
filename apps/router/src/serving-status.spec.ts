import { expect, it } from '@jest/globals';

import { ServingStatus } from './serving-status.js';

it('follows readiness both ways, tells of changes only, and ends with not serving', () => {
  let look = (): void => undefined;
  let isReady = false;
  const told: boolean[] = [];
  const clock = {
    setTimer: (_delayMs: number, callback: () => void) => {
      look = callback;
      return {
        cancel: () => {
          look = () => undefined;
        },
      };
    },
  };
  const status = new ServingStatus(
    clock,
    () => isReady,
    (isServing) => told.push(isServing),
  );
  look();
  expect(told).toEqual([]);
  isReady = true;
  look();
  look();
  expect(told).toEqual([true]);
  // Half of the ranges are out of reach: /readyz is 503.
  isReady = false;
  look();
  isReady = true;
  look();
  expect(told).toEqual([true, false, true]);
  status.stop();
  look();
  expect(told).toEqual([true, false, true, false]);
});
