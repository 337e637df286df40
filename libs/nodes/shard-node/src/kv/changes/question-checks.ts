import { CairnError } from '@cairn/base';
import {
  CHANGES_BYTES_MAX,
  CHANGES_BYTES_MIN,
  CHANGES_WAIT_MS_MAX,
  type ChangesRequest,
  type KvRequest,
} from '@cairn/wire';

import type { KvCall } from '../kv-call.js';
import { fault, WIDEST_SIZE_LIMITS, type RequestFault } from '../request-checks.js';
import { isQuestion, type ChangesQuestion } from './changes-question.js';

/** Spans, places and numbers: nothing else is in a question. */
const QUESTION_BYTES_MAX = 4 * WIDEST_SIZE_LIMITS.keyBytesMax + 1_024;

/**
 * What no router sends in a question for changes; undefined for other requests, and for one that may be
 * served.
 */
export function faultOfChanges(call: KvCall): RequestFault | undefined {
  const { request } = call;
  if (!isQuestion(request)) return undefined;
  const bytes = request.value?.length ?? 0;
  if (bytes > QUESTION_BYTES_MAX) {
    return fault('value', `question has ${bytes} bytes; the limit is ${QUESTION_BYTES_MAX}`);
  }
  let question: ChangesQuestion;
  try {
    question = call.question;
  } catch (error) {
    if (error instanceof CairnError && error.code === 'CORRUPTION') return fault('value', error.message);
    throw error;
  }
  return faultOfSpan(question.asked, request) ?? faultOfBounds(question.asked);
}

function faultOfSpan({ start, end, resume }: ChangesRequest, { key }: KvRequest): RequestFault | undefined {
  if (Buffer.compare(start, key) !== 0) return fault('key', 'the key of a question is where its span begins');
  const { keyBytesMax } = WIDEST_SIZE_LIMITS;
  const longest = Math.max(start.length, end.length, resume.length - keyBytesMax);
  if (longest > keyBytesMax) return fault('value', `a span with a key of ${longest} bytes`);
  if (end.length === 0 || Buffer.compare(start, end) < 0) return undefined;
  return fault('value', 'a span ends above its start');
}

function faultOfBounds({ bytesMax, waitMs }: ChangesRequest): RequestFault | undefined {
  if (waitMs > CHANGES_WAIT_MS_MAX) {
    return fault('value', `waits ${waitMs} ms; the limit is ${CHANGES_WAIT_MS_MAX}`);
  }
  if (bytesMax >= CHANGES_BYTES_MIN && bytesMax <= CHANGES_BYTES_MAX) return undefined;
  return fault(
    'value',
    `asks for ${bytesMax} bytes; it must be ${CHANGES_BYTES_MIN} to ${CHANGES_BYTES_MAX}`,
  );
}
