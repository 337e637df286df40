import { Module, type DynamicModule } from '@nestjs/common';

import { SHELL_PARTS, ShellLifecycle, type ShellParts } from './shell-lifecycle.js';

/** The Nest module of every process: everything that does the work is handed in. */
@Module({})
export class ShellModule {
  static with(parts: ShellParts): DynamicModule {
    return {
      module: ShellModule,
      providers: [{ provide: SHELL_PARTS, useValue: parts }, ShellLifecycle],
      exports: [ShellLifecycle],
    };
  }
}
