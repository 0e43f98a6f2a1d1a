const slotMs = 100;
/** Small numbers are kept in place by the engine, which makes an object of each other: slots are counted from the first that was set, and last for six years. */
const lastSlot = 2 ** 31 - 1;

/** Something that is due at a time. It keeps its own place, which takes less than an entry in a list of places would; only the index writes it. */
export interface Due<T> {
  /** Undefined: it is never due. */
  slot: number | undefined;
  /** Its neighbours in the slot. */
  previous: T | undefined;
  next: T | undefined;
}

/** What is due when: items in slots of 100 ms, so that adding, moving and finding cost the same however many wait. */
export class DueIndex<T extends Due<T>> {
  /** The first item of each slot. */
  readonly #slots = new Map<number, T>();
  #origin: number | undefined;
  /** Nothing waits in an earlier slot. */
  #first = Number.POSITIVE_INFINITY;

  /** `at`: epoch ms; Infinity: never. */
  set(item: T, at: number): void {
    if (at === Number.POSITIVE_INFINITY) return this.delete(item);
    const slot = this.#slotOf(at);
    if (item.slot === slot) return;
    this.delete(item);
    const next = this.#slots.get(slot);
    item.slot = slot;
    item.next = next;
    if (next) next.previous = item;
    this.#slots.set(slot, item);
    if (slot < this.#first) this.#first = slot;
  }

  delete(item: T): void {
    const { slot, previous, next } = item;
    if (slot === undefined) return;
    if (next) next.previous = previous;
    if (previous) previous.next = next;
    else if (next) this.#slots.set(slot, next);
    else this.#slots.delete(slot);
    item.slot = item.previous = item.next = undefined;
  }

  /** Items due at `before` or in the same tenth of a second, the earliest first. They stay until they are set anew. */
  upTo(before: number, limit: number): T[] {
    const last = this.#slotOf(before);
    const found: T[] = [];
    if (this.#slots.size === 0) this.#first = Number.POSITIVE_INFINITY;
    if (last < this.#first) return found;
    for (const slot of this.#between(this.#first, last)) {
      for (let item = this.#slots.get(slot); item; item = item.next) {
        if (found.length === limit) return found;
        found.push(item);
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

  #slotOf(at: number): number {
    const slot = Math.floor(at / slotMs);
    this.#origin ??= slot;
    return Math.max(-lastSlot, Math.min(slot - this.#origin, lastSlot)) | 0;
  }
}
