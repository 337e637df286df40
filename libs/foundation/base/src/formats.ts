import { CairnError, formatTooNew } from './errors.js';
import { rangeText, type VersionRange } from './version.js';

/**
 * Asks of the number that every durable record and every frame with a format begins with. A release reads
 * what the releases before it wrote, and names what a later one wrote for what it is: no damage.
 *
 * @throws CairnError FORMAT_TOO_NEW above what is known, CORRUPTION below it.
 */
export function checkFormat(what: string, found: number, known: VersionRange): void {
  if (found > known.max) throw formatTooNew(`${what} of format ${found}`);
  if (found >= known.min) return;
  throw new CairnError('CORRUPTION', `${what} of format ${found}; this release reads ${rangeText(known)}`);
}
