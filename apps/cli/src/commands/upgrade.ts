import type { CairnClient, StatusResponse } from '@cairn/client';
import type { Command } from 'commander';
import type { CommandContext, RunAction } from '../context.js';
import { ExitCode } from '../exit-codes.js';

const HOLD = 'cluster.version_hold';

type UpgradeStatus = Pick<StatusResponse, 'clusterVersion' | 'newestClusterVersion' | 'upgradeWaits'>;

function isOver({ clusterVersion, newestClusterVersion }: UpgradeStatus): boolean {
  return newestClusterVersion <= clusterVersion;
}

/** Of the status: nothing while every node knows what the cluster is at, and no more. */
export function upgradeFacts(status: UpgradeStatus): [string, string][] {
  return isOver(status) ? [] : [['upgrade', `to cluster version ${status.newestClusterVersion}`]];
}

export function upgradeJson({
  clusterVersion,
  newestClusterVersion,
  upgradeWaits,
}: UpgradeStatus): UpgradeStatus {
  return { clusterVersion, newestClusterVersion, upgradeWaits };
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
  const action = (change: (client: CairnClient, context: CommandContext) => Promise<void>) =>
    run(async (context) => {
      const { signal } = context.io;
      const status = await context.withClient(async (client) => {
        await change(client, context);
        return client.status({ signal });
      });
      if (context.isJson) await context.json(upgradeJson(status));
      else await context.print(upgradeText(status));
      return isOver(status) ? ExitCode.ok : ExitCode.notMet;
    });
  upgrade
    .command('status')
    .description('the cluster version, and what keeps it from rising; exits with 1 while something does')
    .action(action(() => Promise.resolve()));
  upgrade
    .command('hold')
    .description('the cluster version stays what it is until `finalize`')
    .action(
      action(async (client, { io: { signal } }) => {
        const { clusterVersion } = await client.status({ signal });
        await client.putSetting(HOLD, String(clusterVersion), { signal });
      }),
    );
  upgrade
    .command('finalize')
    .description('nothing is held any more: the cluster version rises when every node runs the new release')
    .action(
      action(async (client, { io: { signal } }) => {
        await client.putSetting(HOLD, '', { signal });
      }),
    );
}

function upgradeText(status: UpgradeStatus): string {
  const { clusterVersion, newestClusterVersion, upgradeWaits } = status;
  if (isOver(status)) return `cluster version ${clusterVersion}, as new as any node knows\n`;
  const waits = upgradeWaits.map((sentence) => `  … ${sentence}`);
  const next = waits.length === 0 ? ['it rises in a moment'] : waits;
  const head = `cluster version ${clusterVersion}, on its way to ${newestClusterVersion}:`;
  return `${[head, ...next].join('\n')}\n`;
}
