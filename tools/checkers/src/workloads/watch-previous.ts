import { showValue, type WatchedWrites, type WatchEvent } from './watch-writes.js';

/**
 * What is wrong with what an event says it has replaced; undefined = nothing. `last` is what was told of the
 * key before it, since the watcher asked. Of plain writes of a key at one timestamp each may have replaced
 * one that was not told, or tell what was there before all of them.
 */
export function previousFault(
  writes: WatchedWrites,
  event: WatchEvent,
  last: WatchEvent | undefined,
): string | undefined {
  const { previous } = event;
  if (previous === undefined) return undefined;
  if (previous === 'nothing') return absenceFault(writes, event, last);
  const { key } = event;
  const { value, timestamp } = previous;
  const said = `${showValue(value)} at ${timestamp} is told as replaced`;
  const outcome = writes.outcomeOf(key, timestamp, value);
  if (outcome === undefined || outcome === 'fail') return `${said}, which nobody wrote there`;
  if (timestamp > event.timestamp || (timestamp === event.timestamp && value === event.value))
    return `${said}, which came no earlier`;
  const isAmongPlain = last?.transaction === undefined && event.transaction === undefined;
  const mayPass = isAmongPlain && last?.timestamp === event.timestamp;
  if (last !== undefined && last.timestamp > timestamp && !mayPass)
    return `${said}, but ${showValue(last.value)} at ${last.timestamp} was told in between`;
  const newer = writes.acknowledgedOf(key).find((write) => {
    return write.timestamp > timestamp && write.timestamp < event.timestamp;
  });
  if (newer === undefined) return undefined;
  return `${said}, but ${showValue(newer.value)} at ${newer.timestamp} lies in between (${newer.where})`;
}

/** It says that there was nothing. */
function absenceFault(
  writes: WatchedWrites,
  { key, timestamp }: WatchEvent,
  last: WatchEvent | undefined,
): string | undefined {
  if (writes.mayBeDeleted(key)) return undefined;
  const before = writes.acknowledgedOf(key).filter((write) => write.timestamp <= timestamp);
  const isAfter = (since: number): boolean =>
    before.some((write) => write.value === undefined && write.timestamp >= since);
  if (last?.value !== undefined && last.timestamp < timestamp && !isAfter(last.timestamp))
    return `nothing is told as replaced, but ${last.value} at ${last.timestamp} was told before`;
  const newest = before.findLast((write) => write.timestamp < timestamp);
  if (newest?.value === undefined || isAfter(newest.timestamp)) return undefined;
  const there = `${newest.value} at ${newest.timestamp} was there (${newest.where})`;
  return `nothing is told as replaced, but ${there}`;
}
