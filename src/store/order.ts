import type { SessionFilter } from '../sessions/ports.ts';
import type { Session } from '../sessions/record.ts';

type Place = Pick<Session, 'created_at' | 'session_id'>;
const isOlder = (a: Place, b: Place) => (a.created_at === b.created_at ? a.session_id < b.session_id : a.created_at < b.created_at);

/** One of so many may be forgotten and still there. */
const goneShare = 8;

/** So many at the end are looked at one by one. */
const newest = 16;

/** How many of the items, oldest first, are older than the place. */
function rank(items: readonly { session: Session }[], place: Place): number {
  // mostly asked for a session that is new: of the same millisecond there are a few
  for (let i = items.length; i > 0 && i >= items.length - newest; i--) {
    const item = items[i - 1];
    if (item && isOlder(item.session, place)) return i;
  }
  let [low, high] = [0, Math.max(0, items.length - newest)];
  for (let middle = (low + high) >> 1; low < high; middle = (low + high) >> 1) {
    const item = items[middle];
    if (item && isOlder(item.session, place)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** What holds a session, kept in the order of lists, also by owner: so a page costs what it shows, however many there are. */
export class Order<T extends { session: Session }> {
  /** Oldest first, so that a new one goes to the end. */
  #all: T[] = [];
  /** Most owners have one, which needs no array. */
  readonly #owners = new Map<string, T | T[]>();
  /** Forgotten, and still in the arrays: taking one out of the front of a long array moves all the others. */
  readonly #gone = new Set<T>();

  add(item: T): void {
    this.#all.splice(rank(this.#all, item.session), 0, item);
    const { owner_id } = item.session;
    if (owner_id === undefined) return;
    if (!this.#owners.has(owner_id)) return void this.#owners.set(owner_id, item);
    const owned = this.#of(owner_id);
    owned.splice(rank(owned, item.session), 0, item);
    this.#owners.set(owner_id, owned);
  }

  /** The item's session must be the one it was added with, or one of the same time and owner. */
  delete(item: T): void {
    this.#all.splice(rank(this.#all, item.session), 1);
    const { owner_id } = item.session;
    if (owner_id === undefined) return;
    const owned = this.#of(owner_id);
    if (owned.length === 1) this.#owners.delete(owner_id);
    else owned.splice(rank(owned, item.session), 1);
  }

  /** As `delete`, of an item that does not come back and whose session stays as it is: taken out together with others. */
  forget(item: T): void {
    this.#gone.add(item);
    if (this.#gone.size * goneShare <= this.#all.length) return;
    const stays = (one: T) => !this.#gone.has(one);
    this.#all = this.#all.filter(stays);
    for (const owner of new Set([...this.#gone].map(({ session }) => session.owner_id))) {
      if (owner === undefined) continue;
      const owned = this.#of(owner).filter(stays);
      if (owned.length === 0) this.#owners.delete(owner);
      else this.#owners.set(owner, owned);
    }
    this.#gone.clear();
  }

  /**
   * Looks at no more than `maxLooked` of them: where little fits, that is less than a page.
   * @returns what was found, and how to go on; `rest` is absent where that is all
   */
  list(filter: SessionFilter, maxLooked: number): { found: Session[]; rest?: SessionFilter } {
    const { owner_id, status, tags, limit, offset, before } = filter;
    const items = owner_id === undefined ? this.#all : this.#of(owner_id);
    const found: Session[] = [];
    // where everything fits, what is skipped need not be looked at
    let skipped = status !== undefined || tags?.length || this.#gone.size > 0 ? 0 : offset;
    const first = (before ? rank(items, before) : items.length) - 1 - skipped;
    for (let i = first; i >= 0 && found.length < limit; i--) {
      const item = items[i];
      const last = items[i + 1]?.session;
      if (first - i === maxLooked && last) {
        return { found, rest: { ...filter, limit: limit - found.length, offset: offset - skipped, before: last } };
      }
      const session = item?.session;
      if (!session || this.#gone.has(item) || (status !== undefined && session.status !== status)) continue;
      if (tags?.every((tag) => session.metadata.tags?.includes(tag)) === false) continue;
      if (skipped < offset) skipped += 1;
      else found.push(session);
    }
    return { found };
  }

  #of(owner: string): T[] {
    const owned = this.#owners.get(owner);
    return Array.isArray(owned) ? owned : owned ? [owned] : [];
  }
}
