import { loadConfig, routerConfig } from '@cairn/config';
import { noopMetrics, noopTracer } from '@cairn/ports';
import { openRouter, type RunningRouter } from '@cairn/router-node';

import { SimGrpcServer } from './grpc/grpc-server.js';
import { cutOff } from './grpc/server-call.js';
import { SimNode, type NodePorts, type SimWorld } from './sim-node.js';

/** After a stop signal, open operations get this long. */
const DRAIN_TIMEOUT_MS = 2_000;

export interface SimRouterOptions {
  readonly metadataAddresses: readonly string[];
  /** Credit of each gRPC call and direction. */
  readonly grpcWindowBytes: number;
}

/** A router as its process runs it: gRPC port first, then joining. Its disk stays empty. */
export class SimRouterNode extends SimNode {
  readonly #options: SimRouterOptions;
  #router: RunningRouter | undefined;
  #server: SimGrpcServer | undefined;

  constructor(name: string, world: SimWorld, options: SimRouterOptions) {
    super(name, world);
    this.#options = options;
  }

  /** Where clients reach it. */
  get address(): string {
    return `${this.name}:7200`;
  }

  /** It has joined, knows ranges and reaches most of them. */
  get isReady(): boolean {
    return this.#router?.readiness().ready === true;
  }

  replicas(): Iterable<never> {
    return [];
  }

  protected async open(ports: NodePorts): Promise<void> {
    const { metadataAddresses, grpcWindowBytes } = this.#options;
    const argv = [
      ...['--name', this.name],
      ...['--metadata-addresses', metadataAddresses.join()],
      ...['--grpc-listen', this.address],
    ];
    const { values: config } = loadConfig({ ...routerConfig, argv, env: {} });
    const { clock, logger, transport } = ports;
    const router = openRouter(
      { ...ports, cutOff },
      { config, logger, metrics: noopMetrics, tracer: noopTracer, build: this.build },
    );
    this.#router = router;
    router.join(this.address).catch((error: unknown) => {
      this.ended('fatal', error);
    });
    const { kv, watch, cluster } = router;
    this.#server = new SimGrpcServer({ clock, transport, kv, watch, cluster, windowBytes: grpcWindowBytes });
    await this.#server.listen(this.address);
    this.world.observer.note(this.name, 'is open');
  }

  /** Stops as on SIGTERM; the life ends when everything is closed, and `stopped` is called. */
  stop(stopped: () => void): void {
    const [router, server] = [this.#router, this.#server];
    const closed = async (): Promise<void> => {
      await router?.close(DRAIN_TIMEOUT_MS);
      await server?.close();
    };
    closed().then(
      () => {
        this.die('process');
        stopped();
      },
      (error: unknown) => {
        this.ended('stop', error);
      },
    );
  }

  protected forget(): void {
    this.#router = undefined;
    this.#server = undefined;
  }
}
