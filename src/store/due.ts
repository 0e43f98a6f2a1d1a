const slotMs = 100;

/** Which ids are due when: ids in slots of 100 ms, so that adding, moving and finding cost the same however many wait. */
export class DueIndex {
  /** Most slots hold one id, and a set is larger than all else that is kept of it. */
  readonly #slots = new Map<number, string | Set<string>>();
  readonly #slotOf = new Map<string, number>();
  /** Nothing waits in an earlier slot. */
  #first = Number.POSITIVE_INFINITY;

  /** `at`: epoch ms; Infinity: never. */
  set(id: string, at: number): void {
    const slot = Math.floor(at / slotMs);
    const old = this.#slotOf.get(id);
    if (old === slot) return;
    this.delete(id);
    if (at === Number.POSITIVE_INFINITY) return;
    this.#slotOf.set(id, slot);
    const ids = this.#slots.get(slot);
    if (ids === undefined) this.#slots.set(slot, id);
    else if (typeof ids === 'string') this.#slots.set(slot, new Set([ids, id]));
    else ids.add(id);
    if (slot < this.#first) this.#first = slot;
  }

  delete(id: string): void {
    const slot = this.#slotOf.get(id);
    if (slot === undefined) return;
    this.#slotOf.delete(id);
    const ids = this.#slots.get(slot);
    if (typeof ids === 'object') ids.delete(id);
    if (ids === id || (typeof ids === 'object' && ids.size === 0)) this.#slots.delete(slot);
  }

  /** Ids due at `before` or in the same tenth of a second, the earliest first. They stay until they are set anew. */
  upTo(before: number, limit: number): string[] {
    const last = Math.floor(before / slotMs);
    const found: string[] = [];
    if (this.#slots.size === 0) this.#first = Number.POSITIVE_INFINITY;
    if (last < this.#first) return found;
    for (const slot of this.#between(this.#first, last)) {
      const ids = this.#slots.get(slot) ?? [];
      for (const id of typeof ids === 'string' ? [ids] : ids) {
        if (found.length === limit) return found;
        found.push(id);
      }
    }
    return found;
  }

  /** The slots in use from `first` to `last`, in order; `#first` moves up to the first of them. */
  #between(first: number, last: number): number[] {
    const used: number[] = [];
    // after a long sleep there are fewer slots than tenths of a second to walk through
    if (last - first > this.#slots.size) {
      for (const slot of this.#slots.keys()) if (slot <= last) used.push(slot);
      used.sort((a, b) => a - b);
    } else for (let slot = first; slot <= last; slot++) if (this.#slots.has(slot)) used.push(slot);
    this.#first = used[0] ?? last + 1;
    return used;
  }
}
