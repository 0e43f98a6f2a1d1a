/** An inverted index: finds items by metadata without scanning all of them. */
export class MetadataIndex<T extends { readonly metadata: Readonly<Record<string, string>> }> {
  readonly #holders = new Map<string, Map<string, Set<T>>>();

  add(item: T): void {
    for (const [key, value] of Object.entries(item.metadata)) {
      const values = this.#holders.get(key) ?? new Map<string, Set<T>>();
      this.#holders.set(key, values);
      const holders = values.get(value);
      if (holders) holders.add(item);
      else values.set(value, new Set([item]));
    }
  }

  remove(item: T): void {
    for (const [key, value] of Object.entries(item.metadata)) {
      const values = this.#holders.get(key);
      const holders = values?.get(value);
      if (!values || !holders?.delete(item) || holders.size > 0) continue;
      values.delete(value);
      if (values.size === 0) this.#holders.delete(key);
    }
  }

  /** The smallest set that contains every item with these keys and values, in insertion order; it may contain others. */
  candidates(wanted: Readonly<Record<string, string>>): Iterable<T> {
    let fewest: Set<T> | undefined;
    for (const [key, value] of Object.entries(wanted)) {
      const holders = this.#holders.get(key)?.get(value);
      if (!holders) return [];
      if (!fewest || holders.size < fewest.size) fewest = holders;
    }
    return fewest ?? [];
  }
}
