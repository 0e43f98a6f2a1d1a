type Stop = () => Promise<unknown>;

const stops = new Set<Stop>();

/** Keeps in mind what must be stopped however the bench ends. @returns called when that has ended by itself */
export function stopAtEnd(stop: Stop): () => void {
  stops.add(stop);
  return () => stops.delete(stop);
}

/** Stops whatever runs. */
export const stopAll = () => Promise.allSettled([...stops].map((stop) => stop()));
