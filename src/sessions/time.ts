let isoAt = Number.NaN;
let isoText = '';
/** ISO-8601, UTC. What is said within one millisecond is formatted once. */
export function iso(at: number): string {
  if (at !== isoAt) {
    isoText = new Date(at).toISOString();
    isoAt = at;
  }
  return isoText;
}
