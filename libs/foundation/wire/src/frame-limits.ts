import { CairnError } from '@cairn/base';
import { FRAME_BYTES_MAX } from '@cairn/ports';

/*
 * A frame of many messages is cut where it is made: its sender closes it with the message that takes it past
 * FRAME_CUT_BYTES or FRAME_CUT_MESSAGES and begins the next. So a frame is never longer than the cut and one
 * message more, and a message alone always fits: no value, page, entry or response may pass
 * MESSAGE_BYTES_MAX, far above what keys, values and pages are limited to.
 */

/** A sender closes a frame of many messages once it has this many bytes … */
export const FRAME_CUT_BYTES = 4 * 1024 * 1024;
/** … or this many messages. */
export const FRAME_CUT_MESSAGES = 8_192;
/** Messages in one frame that a receiver takes for more than an honest sender puts there: CORRUPTION. */
export const FRAME_MESSAGES_MAX = 4 * FRAME_CUT_MESSAGES;
/** Longest single message: with a frame's head and the cut it is still below FRAME_BYTES_MAX. */
export const MESSAGE_BYTES_MAX = FRAME_BYTES_MAX - 4 * FRAME_CUT_BYTES;

export function tooManyMessages(what: string): CairnError {
  return new CairnError('CORRUPTION', `a frame of more than ${FRAME_MESSAGES_MAX} ${what}`);
}

/** What cannot be sent is an error for who asked for it, not for the connection. */
export function tooLong(what: string, bytes: number): CairnError {
  return new CairnError(
    'INVALID_ARGUMENT',
    `${what} has ${bytes} bytes; the limit of one message is ${MESSAGE_BYTES_MAX}`,
  );
}
