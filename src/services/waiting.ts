import type { Wanted } from '../../protocol/fields.ts';
import { isPending, type Session } from '../sessions/record.ts';
import { type Instance, matches } from './registry.ts';

/** Sessions with a pending requirement, by what they want. */
export class WaitingList {
  /** Each session with its turn. */
  readonly #byWant = new Map<string, { want: Wanted; sessions: Map<string, number> }>();
  /** Those that wait for anything: most commits are of others. */
  readonly #waiting = new Set<string>();
  #turns = 0;

  get size(): number {
    let count = 0;
    for (const { sessions } of this.#byWant.values()) count += sessions.size;
    return count;
  }

  has(sessionId: string): boolean {
    return this.#waiting.has(sessionId);
  }

  /** Brings the list up to what the record says. */
  update(session: Session): void {
    const open = session.status === 'WaitingForServices' || session.status === 'Ready' || session.status === 'Active';
    if (!(open && session.requirements.some(isPending))) {
      if (!this.#waiting.delete(session.session_id)) return;
    } else this.#waiting.add(session.session_id);
    // not by key: an id may be spelt like a selector
    const keyOf = ({ want }: { want: Wanted }) => JSON.stringify(want);
    const pending = new Set(open ? session.requirements.filter(isPending).map(keyOf) : []);
    for (const requirement of session.requirements) {
      const key = keyOf(requirement);
      const entry = this.#byWant.get(key);
      if (pending.has(key)) {
        if (entry?.sessions.has(session.session_id)) continue;
        if (entry) entry.sessions.set(session.session_id, ++this.#turns);
        else this.#byWant.set(key, { want: requirement.want, sessions: new Map([[session.session_id, ++this.#turns]]) });
      } else if (entry?.sessions.delete(session.session_id) && entry.sessions.size === 0) this.#byWant.delete(key);
    }
  }

  /** Sessions that wait for something this service is, the longest waiting first; one that waits for two such things may come twice. */
  *for(instance: Instance): Generator<string> {
    // each list is in the order of its turns: they are merged as far as somebody asks
    const lists = [...this.#byWant.values()].filter(({ want }) => matches(instance, want)).map(({ sessions }) => sessions.entries());
    const heads = lists.map((list) => list.next().value);
    for (;;) {
      let first = -1;
      for (const [i, head] of heads.entries()) if (head && (first < 0 || head[1] < (heads[first]?.[1] ?? 0))) first = i;
      const head = heads[first];
      if (!head) return;
      heads[first] = lists[first]?.next().value;
      yield head[0];
    }
  }
}
