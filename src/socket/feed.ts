import type { LogEvent } from '../../protocol/events.ts';
import { largeBytes } from '../level.ts';
import type { Sessions } from '../sessions/commits.ts';
import type { Commit, SessionStore, Wake } from '../sessions/ports.ts';
import type { Session } from '../sessions/record.ts';
import type { Turn } from '../turn.ts';
import { textFrame } from './frames.ts';

/** Events that are read at once. */
export const batch = 64;

/** Large frames that are handed over before the time is looked at; the largest count for several. */
const atOnce = 16;
/** Copying so many bytes costs about as much as one more frame. */
const bytesEach = 16_384;

/** An event on its way to the sockets of this node: encoded once for all of them. */
export class Entry {
  readonly event: LogEvent;
  #frame: string | undefined;

  constructor(event: LogEvent) {
    this.event = event;
  }

  get frame(): string {
    this.#frame ??= textFrame(JSON.stringify(this.event));
    return this.#frame;
  }
}

/** Hears of the news of one session. */
export interface Reader {
  /**
   * These events are new; they follow each other, and the reader may know some of them.
   * @param session the record after them; undefined: it is not at hand
   */
  take(news: readonly Entry[], session: Session | undefined): void;
  /** There may be news, which it has to read by itself. */
  wake(): void;
}

/**
 * The logs of the sessions that this node's sockets follow. What this node commits is handed to its readers as it is. What other nodes commit
 * is read: one subscription and one read for all that follow the same session.
 */
export class Feeds {
  readonly #store: SessionStore;
  readonly #turn: Turn;
  /** Mostly one reader follows a session, and it reads by itself. */
  readonly #bySession = new Map<string, Reader | Feed>();
  /** One for all sessions: a function for each would be larger than all else that is kept of it here. */
  readonly #wake: Wake;

  constructor(store: SessionStore, turn: Turn, sessions: Pick<Sessions, 'onCommit' | 'onUnsure' | 'isOwn'>) {
    this.#store = store;
    this.#turn = turn;
    sessions.onCommit((commit) => this.#take(commit));
    sessions.onUnsure((id) => this.#bySession.get(id)?.wake());
    this.#wake = (id, commit_id) => {
      if (!sessions.isOwn(commit_id)) this.#bySession.get(id)?.wake();
    };
  }

  /** Lets a reader hear of a session, which exists or is about to be created. */
  join(sessionId: string, reader: Reader): void {
    const held = this.#bySession.get(sessionId);
    if (held instanceof Feed) held.readers.add(reader);
    else if (held) this.#bySession.set(sessionId, new Feed(this.#store, this.#turn, sessionId, [held, reader]));
    else {
      this.#bySession.set(sessionId, reader);
      this.#subscribe(sessionId);
    }
  }

  /** A reader that joined wants to hear no more. */
  leave(sessionId: string, reader: Reader): void {
    const held = this.#bySession.get(sessionId);
    if (held instanceof Feed) {
      held.readers.delete(reader);
      if (held.readers.size > 0) return;
    } else if (held !== reader) return;
    this.#bySession.delete(sessionId);
    this.#store.unsubscribe(sessionId, this.#wake);
  }

  /** Called by a reader that has read as far as there was anything: from here on news can be handed to it. */
  caughtUp(sessionId: string, seq: number): void {
    const held = this.#bySession.get(sessionId);
    if (held instanceof Feed) held.caughtUp(seq);
  }

  #take({ before, session, events, remote }: Commit): void {
    // the storage signals it to the readers, and the events are there
    if (remote) return;
    const held = this.#bySession.get(session.session_id);
    if (!held) return;
    // before it was there no provider had to take the subscription
    if (!before) this.#subscribe(session.session_id);
    held.take(
      events.map((event) => new Entry(event)),
      session,
    );
  }

  #subscribe(sessionId: string): void {
    // where this node is the only one, every commit is its own
    if (this.#store.shared) this.#store.subscribe(sessionId, this.#wake);
  }
}

/** News that wait to be handed over. */
interface News {
  entries: readonly Entry[];
  session: Session | undefined;
}

/**
 * Hands the news of a session to several readers.
 *
 *   idle --own commit, small----------------> handed over at once, stays idle
 *   idle --own commit, large or after a gap-> busy
 *   idle --signal of another node-----------> busy
 *   busy: hands over in turns what came meanwhile, reads what is missing --nothing left--> idle
 */
class Feed {
  readonly readers: Set<Reader>;
  readonly #sessionId: string;
  readonly #store: SessionStore;
  readonly #turn: Turn;
  /** The last event that was handed to every reader; undefined: each reads by itself. */
  #seq: number | undefined;
  #isBusy = false;
  /** Something has to be read. */
  #isBehind = false;
  #waiting: News[] = [];

  constructor(store: SessionStore, turn: Turn, sessionId: string, readers: Reader[]) {
    this.#store = store;
    this.#turn = turn;
    this.#sessionId = sessionId;
    this.readers = new Set(readers);
  }

  caughtUp(seq: number): void {
    this.#seq ??= seq;
  }

  wake(): void {
    this.#isBehind = true;
    if (!this.#isBusy) void this.#work();
  }

  take(entries: readonly Entry[], session: Session | undefined): void {
    if (!this.#isBusy && this.#follows(entries) && !entries.some(isLarge)) return this.#hand(entries, session);
    this.#waiting.push({ entries, session });
    if (this.#waiting.length > batch) {
      // what is not kept here is read
      this.#waiting = [];
      this.#isBehind = true;
    }
    if (!this.#isBusy) void this.#work();
  }

  /** Cannot reject. */
  async #work(): Promise<void> {
    this.#isBusy = true;
    try {
      for (;;) {
        const news = this.#waiting.shift();
        if (news && this.#follows(news.entries)) await this.#handInTurns(news.entries, news.session);
        else if (news || this.#isBehind) await this.#read();
        else return;
      }
    } catch {
      // each meets the same, and does about it what it must
      this.#wakeAll();
    } finally {
      this.#isBusy = false;
    }
  }

  /** Whether nothing is missing between these and what was handed over before. */
  #follows([first]: readonly Entry[]): boolean {
    return first === undefined || this.#seq === undefined || first.event.seq <= this.#seq + 1;
  }

  async #read(): Promise<void> {
    this.#isBehind = false;
    const seq = this.#seq;
    const found = seq === undefined ? undefined : this.#store.eventsAfter(this.#sessionId, seq, batch);
    const events = found instanceof Promise ? await found : found;
    if (!events) {
      this.#seq = undefined;
      return this.#wakeAll();
    }
    this.#isBehind ||= events.length === batch;
    await this.#handInTurns(
      events.map((event) => new Entry(event)),
      undefined,
    );
  }

  #wakeAll(): void {
    for (const reader of this.readers) reader.wake();
  }

  #hand(entries: readonly Entry[], session: Session | undefined): void {
    this.#passed(entries);
    for (const reader of this.readers) reader.take(entries, session);
  }

  /** Waits for a turn with room whenever there is none: large frames to many take long, and whoever asks for little comes in between. */
  async #handInTurns(entries: readonly Entry[], session: Session | undefined): Promise<void> {
    if (!entries.some(isLarge)) return this.#hand(entries, session);
    this.#passed(entries);
    let left = atOnce;
    for (const reader of this.readers) {
      if (left <= 0) {
        if (!this.#turn.hasRoom) await this.#turn.next();
        left = atOnce;
      }
      reader.take(entries, session);
      for (const entry of entries) left -= 1 + entry.frame.length / bytesEach;
    }
  }

  #passed(entries: readonly Entry[]): void {
    const last = entries.at(-1);
    if (last) this.#seq = Math.max(this.#seq ?? 0, last.event.seq);
  }
}

const isLarge = ({ frame }: Entry) => frame.length > largeBytes;
