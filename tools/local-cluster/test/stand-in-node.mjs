/**
 * Stands in for a node in tests of the tool: serves /readyz where its flags say, leaves on SIGTERM, and
 * misbehaves as its data directory asks: a file `exit-with` holds an exit code, a file `not-ready` a reason,
 * a file `stubborn` ignores SIGTERM.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

const flags = new Map();
for (let at = 2; at < process.argv.length; at += 2) flags.set(process.argv[at], process.argv[at + 1]);
const directory = flags.get('--data-directory');
const asked = (name) => directory !== undefined && existsSync(join(directory, name));
const text = (name) => readFileSync(join(directory, name), 'utf8').trim();

if (directory !== undefined) mkdirSync(directory, { recursive: true });
process.stdout.write(
  `{"event":"started","name":"${flags.get('--name')}","flags":"${process.argv.slice(2).join(' ')}"}\n`,
);
if (asked('exit-with')) {
  process.stderr.write('the data directory is of a newer format\n');
  process.exit(Number(text('exit-with')));
}
const [host, port] = flags.get('--http-listen').split(':');
const server = createServer((_, response) => {
  const reasons = asked('not-ready') ? [text('not-ready')] : [];
  response.writeHead(reasons.length === 0 ? 200 : 503, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ ready: reasons.length === 0, reasons }));
});
server.listen(Number(port), host);
process.on('SIGTERM', () => {
  if (!asked('stubborn')) process.exit(0);
});
