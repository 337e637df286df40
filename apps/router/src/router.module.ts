import { Module, type DynamicModule } from '@nestjs/common';

import type { ClusterAdmin } from './cluster-admin.js';
import { CLUSTER_ADMIN, ClusterController } from './doors/cluster.controller.js';

export interface RouterModuleParts {
  readonly admin: ClusterAdmin;
}

/** The shell: everything that does the work is handed in. */
@Module({})
export class RouterModule {
  static with(parts: RouterModuleParts): DynamicModule {
    return {
      module: RouterModule,
      controllers: [ClusterController],
      providers: [{ provide: CLUSTER_ADMIN, useValue: parts.admin }],
    };
  }
}
