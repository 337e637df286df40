import { decodeChangesRequest, KvOp, type ChangesRequest, type KvRequest } from '@cairn/wire';

import { decodeResumeToken, type ResumeToken } from './resume-token.js';

/** What a request asks for, and where it goes on; undefined = it begins. */
export interface ChangesQuestion {
  readonly asked: ChangesRequest;
  readonly resume: ResumeToken | undefined;
}

/** Throws CORRUPTION for garbage. */
export function decodeQuestion(value: Uint8Array): ChangesQuestion {
  const asked = decodeChangesRequest(value);
  return { asked, resume: asked.resume.length === 0 ? undefined : decodeResumeToken(asked.resume) };
}

export function isQuestion({ op }: Pick<KvRequest, 'op'>): boolean {
  return op === KvOp.changes;
}
