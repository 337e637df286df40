import type { ClusterHandlers } from '@cairn/router-node';
import { Module, type DynamicModule } from '@nestjs/common';

import { ClusterGate } from './cluster-gate.js';
import { CLUSTER_HANDLERS, ClusterController } from './cluster.controller.js';

export interface RouterModuleParts {
  readonly cluster: ClusterHandlers;
}

/** Made by the server itself. */
interface DoorParts {
  readonly gate: ClusterGate;
}

/** The shell: everything that does the work is handed in. */
@Module({})
export class RouterModule {
  static with(parts: RouterModuleParts, { gate }: DoorParts): DynamicModule {
    return {
      module: RouterModule,
      controllers: [ClusterController],
      providers: [
        { provide: CLUSTER_HANDLERS, useValue: parts.cluster },
        { provide: ClusterGate, useValue: gate },
      ],
    };
  }
}
