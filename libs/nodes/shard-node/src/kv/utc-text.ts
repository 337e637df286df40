import { timestampToUnixMs, type Timestamp } from '@cairn/base';

const DAY_MS = 86_400_000;

/**
 * A timestamp as people read it, in UTC: `2026-03-01T09:08:07.006Z`. Days become dates by the method of
 * Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years begin in March, so that the leap day
 * is their last.
 */
export function utcText(at: Timestamp): string {
  const unixMs = timestampToUnixMs(at);
  const dayMs = unixMs % DAY_MS;
  const days = Math.floor(unixMs / DAY_MS) + 719_468;
  const era = Math.floor(days / 146_097);
  const dayOfEra = days - era * 146_097;
  const leapDays =
    Math.floor(dayOfEra / 1_460) - Math.floor(dayOfEra / 36_524) + Math.floor(dayOfEra / 146_096);
  const yearOfEra = Math.floor((dayOfEra - leapDays) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1;
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const clock = [
    Math.floor(dayMs / 3_600_000),
    Math.floor(dayMs / 60_000) % 60,
    Math.floor(dayMs / 1_000) % 60,
  ];
  const time = clock.map((part) => digits(part, 2)).join(':');
  return `${year}-${digits(month, 2)}-${digits(day, 2)}T${time}.${digits(dayMs % 1_000, 3)}Z`;
}

function digits(value: number, count: number): string {
  return String(value).padStart(count, '0');
}
