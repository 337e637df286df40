import { Module, type DynamicModule } from '@nestjs/common';

import { LIFECYCLE_PARTS, MetadataLifecycle, type LifecycleParts } from './metadata-lifecycle.js';

/** The shell: everything that does the work is handed in. */
@Module({})
export class MetadataModule {
  static forProcess(parts: LifecycleParts): DynamicModule {
    return {
      module: MetadataModule,
      providers: [{ provide: LIFECYCLE_PARTS, useValue: parts }, MetadataLifecycle],
      exports: [MetadataLifecycle],
    };
  }
}
