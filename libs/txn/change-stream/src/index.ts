export { ChangeStreams, type ChangeStreamsOptions } from './change-streams.js';
export {
  DEFAULT_STREAM_LIMITS,
  PROGRESS_MS_DEFAULT,
  PROGRESS_MS_MAX,
  PROGRESS_MS_MIN,
  type StreamLimits,
} from './limits.js';
export { RouterSource, type RouterSourceParts } from './router-source.js';
export type * from './types.js';
