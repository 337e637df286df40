import type { RaftLog } from '@cairn/raft-log';

import { Applier } from './applier.js';
import { ApplyBacklog } from './apply-backlog.js';
import { Checkpointer } from './checkpointer.js';
import { Delivery } from './delivery.js';
import { DiskWatch } from './disk-watch.js';
import type { SupportedReplica } from './heartbeat-peer.js';
import { HeldRecovery } from './held-recovery.js';
import { HeldReplicas } from './held-replicas.js';
import { Housekeeping } from './housekeeping.js';
import { InboundQueue } from './inbound.js';
import { Installations } from './installations.js';
import { Intake } from './intake.js';
import { Leadership } from './leadership.js';
import { LeadershipLog } from './leadership-log.js';
import { LeaseGuard } from './lease-guard.js';
import { MachineOpener } from './machine-opener.js';
import { MemberChanges } from './member-changes.js';
import { MessageStep } from './message-step.js';
import { Occupancy } from './occupancy.js';
import { OwnRows } from './own-rows.js';
import { ReceivedSpools } from './received-spools.js';
import { ReplicaOpener } from './recovery.js';
import { ReplicaChanger } from './replica-changer.js';
import { ReplicaMaker } from './replica-maker.js';
import { ReplicaRemoval } from './replica-removal.js';
import { ReplicaTable } from './replica-table.js';
import type { Replica } from './replica.js';
import { RunQueue } from './run-queue.js';
import { SnapshotInstaller } from './snapshot-install.js';
import { SnapshotOffers } from './snapshot-offers.js';
import { SnapshotReceiver } from './snapshot-receive.js';
import { SnapshotSender } from './snapshot-send.js';
import { SpanIndex } from './span-index.js';
import { SplitApplier } from './split-apply.js';
import { StoreCommandApplier } from './store-command-applier.js';
import { StoreHeartbeats } from './store-heartbeats.js';
import { StoreHost } from './store-host.js';
import { StoreLife } from './store-life.js';
import { StoreMetrics } from './store-metrics.js';
import type { StoreOptions } from './store-options.js';
import { Ticker } from './ticker.js';
import { TickingReplicas } from './ticking-replicas.js';
import { TurnLoop } from './turn.js';
import { TurnTime } from './turn-time.js';

/** The parts that a store asks by itself. */
export interface StoreParts {
  readonly log: RaftLog;
  readonly life: StoreLife;
  readonly replicas: ReplicaTable;
  readonly spans: SpanIndex<Replica>;
  readonly held: HeldReplicas;
  readonly queue: RunQueue;
  readonly inbound: InboundQueue;
  readonly backlog: ApplyBacklog;
  readonly disk: DiskWatch;
  readonly heartbeats: StoreHeartbeats;
  readonly removal: ReplicaRemoval;
  readonly occupancy: Occupancy;
  readonly maker: ReplicaMaker;
  readonly members: MemberChanges;
  readonly applier: Applier;
  readonly installer: SnapshotInstaller;
  readonly receiver: SnapshotReceiver;
  readonly sender: SnapshotSender;
  readonly opener: ReplicaOpener;
  readonly heldRecovery: HeldRecovery;
  readonly machines: MachineOpener;
  readonly changer: ReplicaChanger;
  readonly checkpointer: Checkpointer;
  readonly ticker: Ticker;
  readonly machineFor: StoreOptions['machineFor'];
}

/** What holds state and waits: nothing here begins anything. */
function ground(options: StoreOptions, log: RaftLog) {
  const { clock, config, engine, links, logger, rng } = options;
  const metrics = new StoreMetrics(options.metrics);
  const life = new StoreLife(logger, (error) => {
    options.onFatal(error);
  });
  const spans = new SpanIndex<Replica>();
  const replicas = new ReplicaTable(spans);
  const queue = new RunQueue(clock);
  const time = new TurnTime(clock);
  const ticking = new TickingReplicas<SupportedReplica>();
  const backlog = new ApplyBacklog(config);
  const intake = new Intake(log, backlog);
  const inbound = new InboundQueue(config, metrics);
  const held = new HeldReplicas();
  const spools = new ReceivedSpools(options.disk, logger);
  const disk = new DiskWatch({ clock, logger, log, engine, replicas: () => replicas });
  const heartbeats = new StoreHeartbeats({ clock, rng, logger, config, links, replicas, ticking });
  const leases = new LeaseGuard({ clock, config, logger, metrics, heartbeats, replicas });
  const leadershipLog = new LeadershipLog(clock, logger);
  const spansOf: StoreOptions['spansOf'] = (descriptor) => options.spansOf(descriptor);
  const ownRows = new OwnRows({ spans, held, logger, spansOf });
  return {
    ...{ metrics, life, spans, replicas, queue, time, ticking, backlog, intake, inbound, held, spools },
    ...{ disk, heartbeats, leases, leadershipLog, spansOf, ownRows },
  };
}

/** What brings replicas in and out, and messages to them. */
function replicaParts(options: StoreOptions, log: RaftLog, base: ReturnType<typeof ground>) {
  const { storeId, clock, config, engine, gates, logger, rng } = options;
  const { backlog, heartbeats, intake, leases, metrics, queue, replicas, spans, spools, ticking, time } =
    base;
  const changed = changedOf(options);
  const fatal = base.life.fatal;
  const host = new StoreHost(queue, intake, leases);
  const removal = new ReplicaRemoval({
    ...{ storeId, engine, log, backlog, ownRows: base.ownRows, spools, logger, fatal },
    removed: changed,
  });
  const occupancy = new Occupancy({ spans, held: base.held, spools, removal });
  const maker = new ReplicaMaker({
    ...{ clock, rng, config, gates, log, host, spans, replicas, ticking, heartbeats, occupancy },
    changed,
  });
  const steps = new MessageStep({ time, queue, intake, heartbeats, ticking, metrics });
  const delivery = new Delivery({ clock, logger, metrics, replicas, occupancy, maker, steps });
  return { removal, occupancy, maker, delivery };
}

/** What carries out what is committed, and snapshots. */
function applyParts(
  options: StoreOptions,
  log: RaftLog,
  base: ReturnType<typeof ground> & ReturnType<typeof replicaParts>,
) {
  const { storeId, clock, config, disk, engine, logger } = options;
  const { backlog, delivery, heartbeats, life, maker, metrics, ownRows, removal, replicas, spansOf } = base;
  const { spools } = base;
  const changed = changedOf(options);
  const leadership = new Leadership({ heartbeats, log: base.leadershipLog, changed });
  const members = new MemberChanges({
    ...{ storeId, replicas, heartbeats, removal, changed },
  });
  const splits = new SplitApplier({ storeId, engine, log, clock, metrics, maker, delivery, changed });
  const commands = new StoreCommandApplier(splits, options.clusterVersions);
  const applier = new Applier({ engine, config, backlog, commands, members, leadership, metrics, life });
  const directory = `${options.directory}/snapshots`;
  const machineFor: StoreOptions['machineFor'] = (...range) => options.machineFor(...range);
  const installer = new SnapshotInstaller({
    ...{ directory, disk, engine, log, backlog, spools, ownRows, logger, metrics, machineFor },
  });
  const installations = new Installations({ installer, applier, life, changed });
  const offers = new SnapshotOffers({
    ...{ storeId, replicas, removal, occupancy: base.occupancy, delivery, queue: base.queue },
  });
  const receiver = new SnapshotReceiver({
    ...{ directory, disk, clock, config, metrics, spools, offers, spansOf, fatal: life.fatal },
    checkVolatileState: (state) => options.checkVolatileState?.(state),
  });
  const sender = new SnapshotSender({
    ...{ engine, backlog, clock, config, logger, metrics, fatal: life.fatal },
    openChannel: (to) => options.openSnapshotChannel(to),
  });
  const opener = new ReplicaOpener({ installer, maker, applier, machineFor });
  return { leadership, members, applier, installer, installations, receiver, sender, opener, machineFor };
}

/**
 * Makes the parts of a store around its open log, from the bottom to the top: each is made of those before it
 * and knows none of those behind it. What parts below have to say to the turns above goes through `RunQueue`
 * (a turn is due) and `StoreLife` (the store is over). Nothing has begun yet.
 */
export function storeParts(options: StoreOptions, log: RaftLog): StoreParts {
  const { storeId, clock, config, engine, links, logger } = options;
  const base = ground(options, log);
  const withReplicas = { ...base, ...replicaParts(options, log, base) };
  const parts = { ...withReplicas, ...applyParts(options, log, withReplicas) };
  const { backlog, heartbeats, held, leadershipLog, leases, life, metrics, opener, replicas, ticking } =
    parts;
  const { applier, delivery, inbound, installations, intake, leadership, queue, sender, time } = parts;
  const turns = new TurnLoop({
    ...{ clock, time, config, queue, inbound, delivery, intake, log, links, backlog, applier, leadership },
    ...{ heartbeats, ticking, installations, sender, metrics, life },
  });
  queue.whenDue(() => {
    turns.run();
  });
  const checkpointer = new Checkpointer({ engine, log, backlog, clock, config, logger, metrics, replicas });
  const housekeeping = new Housekeeping({
    ...{ inbound, backlog, leadershipLog, disk: parts.disk, checkpointer, metrics, life },
  });
  const ticker = new Ticker({
    ...{ clock, config, logger, metrics, heartbeats, leases, ticking, replicas, housekeeping, life },
  });
  const heldRecovery = new HeldRecovery({
    ...{ clock, logger, held, life },
    recover: (replica) => opener.open(replica),
  });
  const changer = new ReplicaChanger({ storeId, clock, logger });
  const machines = new MachineOpener(clock, logger);
  return { ...parts, log, checkpointer, ticker, heldRecovery, changer, machines };
}

/** Leadership, descriptor or existence of a replica changed: told to whoever hosts the store. */
function changedOf(options: StoreOptions): NonNullable<StoreOptions['onReplicaChanged']> {
  return (rangeId) => {
    options.onReplicaChanged?.(rangeId);
  };
}
