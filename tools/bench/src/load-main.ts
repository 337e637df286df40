import { messageOf } from '@cairn/base';
import type { LoadReply, LoadRequest, LoadSetup } from './load-messages.js';
import { LoadSession } from './load-session.js';

/**
 * The load process: a client with a processor account of its own. It is started by the benchmark, takes its
 * set-up as the one argument, requests over the channel to its parent, one at a time, and ends with that
 * channel.
 */
function reply(message: LoadReply): void {
  process.send?.(message);
}

async function main(): Promise<void> {
  if (process.send === undefined) throw new Error('This program is started by npm run bench only.');
  process.on('disconnect', () => process.exit(0));
  const session = await LoadSession.open(JSON.parse(process.argv[2] ?? '') as LoadSetup);
  process.on('message', (request: LoadRequest) => {
    void session.handle(request).then(reply);
  });
  reply({ kind: 'ready' });
}

await main().catch((error: unknown) => {
  if (process.send === undefined) {
    process.stderr.write(`${messageOf(error)}\n`);
    process.exit(1);
  }
  process.send({ kind: 'failed', message: messageOf(error) } satisfies LoadReply, () => process.exit(1));
});
