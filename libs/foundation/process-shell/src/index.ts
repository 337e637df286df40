export { holdDirectory } from './hold-directory.js';
export type { ProcessKind, ProcessPorts, RunningPart, ShellConfig, ShellContext } from './process-kind.js';
export { runProcess } from './run-process.js';
export { startProcess, type RunningProcess, type StartOptions } from './start-process.js';
