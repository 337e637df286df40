import { dirname } from 'node:path';
import { ExitCode } from './exit-codes.js';

/** A named file could not be used; the message names it. */
export class FileError extends Error {
  override readonly name = 'FileError';
  /** As the operating system calls it: ENOENT, EACCES, ... */
  readonly code: string;
  readonly exitCode: ExitCode;

  constructor(code: string, message: string, exitCode: ExitCode, cause: unknown) {
    super(message, { cause });
    this.code = code;
    this.exitCode = exitCode;
  }
}

/**
 * Runs `work` with a file.
 *
 * @throws FileError that says what is wrong with the file in place of what the operating system says.
 */
export async function withFile<Result>(
  path: string,
  deed: 'read' | 'written',
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw fileFailure(error, path, deed);
  }
}

/** The same failure with a sentence of ours; anything but a failure of the file system as it is. */
export function fileFailure(error: unknown, path: string, deed: 'read' | 'written'): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (typeof code !== 'string' || syscall === undefined) return error;
  const isFull = code === 'ENOSPC' || code === 'EDQUOT';
  const exitCode = isFull ? ExitCode.output : ExitCode.usage;
  return new FileError(code, sentenceOf(code, path, deed), exitCode, error);
}

function sentenceOf(code: string, path: string, deed: 'read' | 'written'): string {
  switch (code) {
    case 'ENOENT':
      return deed === 'read' ? `there is no file ${path}` : `there is no directory ${dirname(path)}`;
    case 'EISDIR':
      return `${path} is a directory`;
    case 'ENOTDIR':
      return `${path} lies below something that is not a directory`;
    case 'EACCES':
    case 'EPERM':
      return `${path} may not be ${deed} by this user`;
    case 'EROFS':
      return `${path} lies on a file system that takes no writes`;
    case 'ENOSPC':
    case 'EDQUOT':
      return `no space is left for ${path}`;
    default:
      return `${path} cannot be ${deed} (${code})`;
  }
}
