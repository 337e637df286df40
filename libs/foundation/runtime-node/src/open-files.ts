/**
 * Of the files that may be open, this part may be connections that came in; the rest is for everything else.
 */
const CONNECTIONS_SHARE = 1 / 2;

/** The part of a report of Node that is looked at; the whole of it depends on the system. */
interface Limits {
  readonly userLimits?: { readonly open_files?: { readonly soft?: number | 'unlimited' } };
}

/**
 * How many files and sockets this process may have open (`ulimit -n`); undefined = any number, or not known.
 */
export function openFilesMax(): number | undefined {
  // The names of other machines have no place in it, and may take long to look up.
  (process.report as { excludeNetwork?: boolean }).excludeNetwork = true;
  const { userLimits } = process.report.getReport() as Limits;
  const soft = userLimits?.open_files?.soft;
  return typeof soft === 'number' ? soft : undefined;
}

/** Connections that a process which may open so many files takes in. */
export function connectionsFor(openFiles: number | undefined): number | undefined {
  return openFiles === undefined ? undefined : Math.floor(openFiles * CONNECTIONS_SHARE);
}
