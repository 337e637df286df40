import { Module, type DynamicModule } from '@nestjs/common';

import { LIFECYCLE_PARTS, ShardLifecycle, type LifecycleParts } from './shard-lifecycle.js';

/** The shell: everything that does the work is handed in. */
@Module({})
export class ShardModule {
  static forProcess(parts: LifecycleParts): DynamicModule {
    return {
      module: ShardModule,
      providers: [{ provide: LIFECYCLE_PARTS, useValue: parts }, ShardLifecycle],
      exports: [ShardLifecycle],
    };
  }
}
