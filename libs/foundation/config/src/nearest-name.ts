/** Number of single-character edits between two words (Levenshtein), one row at a time. */
export function editDistance(left: string, right: string): number {
  let previous = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= right.length; column += 1) {
      const same = left[row - 1] === right[column - 1];
      const replace = (previous[column - 1] ?? 0) + (same ? 0 : 1);
      current.push(Math.min(replace, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[right.length] ?? 0;
}

/**
 * The known name that was probably meant: one that goes on after the given words (`--data` of
 * `--data-directory`), the shortest of several, else one of which at most a third of the letters differ.
 */
export function nearestName(given: string, known: Iterable<string>): string | undefined {
  const names = [...known];
  const longer = names.filter((name) => name.startsWith(`${given}-`));
  if (longer.length > 0) return longer.reduce((one, other) => (other.length < one.length ? other : one));
  let best: string | undefined;
  let bestDistance = Math.floor(Math.max(given.length, 3) / 3) + 1;
  for (const name of names) {
    const distance = editDistance(given.toLowerCase(), name.toLowerCase());
    if (distance < bestDistance) {
      best = name;
      bestDistance = distance;
    }
  }
  return best;
}
