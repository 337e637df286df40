import type { CairnClient, StatusResponse } from '@cairn/client';
import type { Command } from 'commander';
import type { CommandContext, RunAction } from '../context.js';
import { ExitCode } from '../exit-codes.js';

/** The setting that keeps the cluster version where it is. */
export const HOLD = 'cluster.version_hold';

/** What of the status is about upgrades, with what an operator said. */
export interface UpgradeStatus extends Pick<
  StatusResponse,
  'clusterVersion' | 'newestClusterVersion' | 'upgradeWaits'
> {
  /** The cluster version rises no further than to this; null while it is not held. */
  readonly heldAt: number | null;
}

/** The status of the cluster, and whether its version is held. */
export async function statusWithHold(
  client: CairnClient,
  signal: AbortSignal,
): Promise<StatusResponse & UpgradeStatus> {
  const [status, settings] = await Promise.all([client.status({ signal }), client.settings({ signal })]);
  const hold = Number(settings.find(({ name }) => name === HOLD)?.value ?? 0);
  // It never falls: a hold below what the cluster is at holds it where it is.
  return { ...status, heldAt: hold > 0 ? Math.max(hold, status.clusterVersion) : null };
}

function isOver({ clusterVersion, newestClusterVersion }: UpgradeStatus): boolean {
  return newestClusterVersion <= clusterVersion;
}

function holdTexts({ heldAt }: UpgradeStatus): string[] {
  return heldAt === null ? [] : [`held at ${heldAt} (cairn upgrade finalize takes it back)`];
}

/** Of the status: nothing while nothing is held and every node knows what the cluster is at, and no more. */
export function upgradeFacts(status: UpgradeStatus): [string, string][] {
  const to = isOver(status) ? [] : [`to cluster version ${status.newestClusterVersion}`];
  const words = [...to, ...holdTexts(status)];
  return words.length === 0 ? [] : [['upgrade', words.join(', ')]];
}

export function upgradeJson(status: UpgradeStatus): UpgradeStatus {
  const { clusterVersion, newestClusterVersion, upgradeWaits, heldAt } = status;
  return { clusterVersion, newestClusterVersion, upgradeWaits, heldAt };
}

/** upgrade status, hold, finalize. */
export function registerUpgrade(program: Command, run: RunAction): void {
  const upgrade = program
    .command('upgrade')
    .description('how far a change of release has come, hold its end back')
    .addHelpText(
      'after',
      `
Examples:
  cairn upgrade hold        before the first node gets the new release: the way back stays free
  cairn upgrade status      who still runs the old one
  cairn upgrade finalize    the new one is good: what it brought may be written from now on

Nodes get a new release one at a time. When all of them run it the cluster version rises by itself,
unless it is held; from then on no node goes back to the release before.`,
    );
  const show = async (context: CommandContext, status: UpgradeStatus): Promise<void> => {
    if (context.isJson) await context.json(upgradeJson(status));
    else await context.print(upgradeText(status));
  };
  /** What is asked for is that the setting changes: how far the upgrade has come is told, and is no failure. */
  const change = (valueOf: (client: CairnClient, signal: AbortSignal) => Promise<string>) =>
    run(async (context) => {
      const { signal } = context.io;
      const status = await context.withClient(async (client) => {
        await client.putSetting(HOLD, await valueOf(client, signal), { signal });
        return statusWithHold(client, signal);
      });
      await show(context, status);
      return ExitCode.ok;
    });
  upgrade
    .command('status')
    .description('the cluster version, and what keeps it from rising; exits with 1 while something does')
    .action(
      run(async (context) => {
        const status = await context.withClient((client) => statusWithHold(client, context.io.signal));
        await show(context, status);
        return isOver(status) ? ExitCode.ok : ExitCode.notMet;
      }),
    );
  upgrade
    .command('hold')
    .description('the cluster version stays what it is until `finalize`')
    .action(
      change(async (client, signal) => {
        const { clusterVersion } = await client.status({ signal });
        return String(clusterVersion);
      }),
    );
  upgrade
    .command('finalize')
    .description('nothing is held any more: the cluster version rises when every node runs the new release')
    .action(change(() => Promise.resolve('')));
}

function upgradeText(status: UpgradeStatus): string {
  const { clusterVersion, newestClusterVersion, upgradeWaits } = status;
  const lines = isOver(status)
    ? [`cluster version ${clusterVersion}, as new as any node knows`]
    : [
        `cluster version ${clusterVersion}, on its way to ${newestClusterVersion}:`,
        ...(upgradeWaits.length === 0
          ? ['it rises in a moment']
          : upgradeWaits.map((sentence) => `  … ${sentence}`)),
      ];
  return `${[...lines, ...holdTexts(status)].join('\n')}\n`;
}
