import { CairnError } from '@cairn/base';

/** Oldest Node the servers run on. */
const NODE_MAJOR_MIN = 24;

/** Throws FAILED_PRECONDITION with what to do when the program runs on an older Node than it needs. */
export function assertNodeVersion(version: string): void {
  if (Number(version.split('.')[0]) >= NODE_MAJOR_MIN) return;
  throw new CairnError(
    'FAILED_PRECONDITION',
    `this program needs Node ${NODE_MAJOR_MIN} or newer and runs on ${version}: ` +
      'start it with node_modules/.bin/node of the checkout, which npm installed',
  );
}
