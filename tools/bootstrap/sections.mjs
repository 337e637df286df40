/** Runs what consists of several parts, each with a time budget, and shows what became of them. */
import { performance } from 'node:perf_hooks';
import { minutesOf, takeTail } from './processes.mjs';
import { fail, say } from './say.mjs';

const MINUTE_MS = 60_000;
/**
 * Of the whole, installing and building included, for whoever has to be done by some time: the last of the
 * parts get less, or none.
 */
const WHOLE_VARIABLE = 'CAIRN_TEST_MINUTES';

/** What the environment leaves to the whole. */
function wholeMs() {
  const text = process.env[WHOLE_VARIABLE] ?? '';
  if (text === '') return Infinity;
  const minutes = Number(text);
  if (!(minutes > 0)) fail(`${WHOLE_VARIABLE} is ${text}: it must be a number of minutes above 0`);
  return minutes * MINUTE_MS;
}

function clockOf(ms) {
  const seconds = Math.round(ms / 1_000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/** Lines of equal columns: what became of it, which part, what it may take and what it took. */
function tableOf(results) {
  const rows = [
    ['', 'part', 'budget', 'taken'],
    ...results.map(({ verdict, title, minutes, tookMs }) => [
      verdict,
      title,
      `${minutes} min`,
      tookMs === undefined ? '-' : clockOf(tookMs),
    ]),
    ['', 'together', '', clockOf(results.reduce((sum, { tookMs }) => sum + (tookMs ?? 0), 0))],
  ];
  const widths = [0, 1, 2, 3].map((at) => Math.max(...rows.map((row) => row[at].length)));
  return rows.map((row) =>
    row
      .map((cell, at) => (at < 2 ? cell.padEnd(widths[at]) : cell.padStart(widths[at])))
      .join('  ')
      .trimEnd(),
  );
}

/**
 * Runs every part, also after one failed, so that one run shows everything; none after a request to stop. A
 * part is `{ title, minutes, run(budgetMs) }`, and `run` resolves with an exit code within its budget.
 * Resolves with the parts and whether each passed.
 */
export async function runSections(parts) {
  const allMs = wholeMs();
  let isStopped = false;
  const stop = () => {
    isStopped = true;
  };
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, stop);
  const results = [];
  for (const part of parts) {
    const { title, minutes } = part;
    say(`\n== ${title} ==`);
    const partStartedMs = performance.now();
    // Its zero is the start of this process.
    const leftMs = allMs - partStartedMs;
    if (isStopped || leftMs <= 0) {
      say(`${title}: not run, ${isStopped ? 'because a stop was requested' : 'because no time is left'}`);
      results.push({ title, minutes, verdict: 'FAILED', tookMs: undefined });
      continue;
    }
    const code = await part.run(Math.min(minutes * MINUTE_MS, leftMs));
    const tookMs = performance.now() - partStartedMs;
    const verdict = code === 0 ? 'passed' : 'FAILED';
    results.push({ title, minutes, verdict, tookMs, tail: takeTail() });
    say(`${title}: ${verdict} (${clockOf(tookMs)})`);
  }
  for (const signal of ['SIGINT', 'SIGTERM']) process.off(signal, stop);
  for (const { title, verdict, tail = '' } of results) {
    if (verdict === 'FAILED' && tail !== '') say(`\n== What ${title} said last ==\n${tail.trimEnd()}`);
  }
  say('\n== Summary ==');
  for (const line of tableOf(results)) say(line);
  if (allMs !== Infinity) say(`all of it may take ${minutesOf(allMs)} minutes`);
  return results.map(({ title, verdict }) => ({ title, passed: verdict === 'passed' }));
}
