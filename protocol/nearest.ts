/** The known word that a misspelt one most likely means, whatever its case; undefined: none is like it. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  const lower = word.toLowerCase();
  let best: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const needed = changes(lower, candidate.toLowerCase());
    // with every second character changed it is another word
    if (needed < least && needed * 2 < Math.max(word.length, candidate.length)) [best, least] = [candidate, needed];
  }
  return best;
}

/** How many characters must be changed, put in or left out to make one of the other: Levenshtein's distance, one row at a time. */
export function changes(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
