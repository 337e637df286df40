import { encodeVersionToken, deleteRangeDetail, foundDetail, OutcomeFlag, OutcomeKind } from '@cairn/mvcc';
import type { CommandOutcome } from '@cairn/mvcc';

import type { KvCall } from './kv-call.js';

/** Answers a command that was sent again with what it was answered, or would have been, the first time. */
export function respondWithOutcome(call: KvCall, outcome: CommandOutcome): void {
  const response = call.newResponse();
  switch (outcome.kind) {
    case OutcomeKind.put:
      setWritten(response, outcome);
      break;
    case OutcomeKind.delete:
      response.found = outcome.has(OutcomeFlag.existed);
      if (response.found) setWritten(response, outcome);
      break;
    case OutcomeKind.compareAndSet: {
      response.succeeded = outcome.has(OutcomeFlag.succeeded);
      if (response.succeeded) {
        setWritten(response, outcome);
        break;
      }
      const found = foundDetail(outcome);
      response.found = found !== undefined;
      if (found !== undefined) {
        response.version = found.token;
        response.value = found.value;
        response.kind = found.kind;
      }
      break;
    }
    case OutcomeKind.increment:
      response.number = outcome.detail?.toString('latin1') ?? '';
      setWritten(response, outcome);
      break;
    case OutcomeKind.transaction:
      response.value = outcome.detail;
      break;
    case OutcomeKind.deleteRange: {
      const detail = deleteRangeDetail(outcome);
      response.count = detail.count;
      response.resumeKey = detail.resumeKey;
      break;
    }
  }
  call.respond(response);
}

function setWritten(response: ReturnType<KvCall['newResponse']>, outcome: CommandOutcome): void {
  response.version = encodeVersionToken(outcome.timestamp, outcome.sequence);
  response.timestamp = outcome.timestamp;
}
