export {
  CLASSIC_LEVEL_DEFAULTS,
  openClassicLevelEngine,
  type ClassicLevelEngine,
  type ClassicLevelOptions,
} from './classic-level-engine.js';
