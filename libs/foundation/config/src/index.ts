export { loadConfig, wantsHelp, type LoadConfigOptions, type LoadedConfig } from './load-config.js';
export { configHelp, configMarkdown, textAsked } from './help.js';
export type { ConfigDefinition, ConfigOutline, ConfigSchema } from './definition.js';
export type { ConfigSource, Environment } from './read-sources.js';
export { environmentName, flagName } from './names.js';
export * from './fields.js';
export { nearestName } from './nearest-name.js';
export { metadataConfig, metadataConfigSchema, type MetadataConfig } from './metadata-config.js';
export { routerConfig, routerConfigSchema, type RouterConfig } from './router-config.js';
export { shardConfig, shardConfigSchema, type ShardConfig } from './shard-config.js';
export {
  checkTiming,
  DEFAULT_TIMING,
  timingFields,
  timingOf,
  validateTiming,
  type TimingConfig,
} from './timing-config.js';
export { assertNodeVersion } from './node-version.js';
