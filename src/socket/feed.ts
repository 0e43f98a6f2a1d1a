import type { LogEvent } from '../../protocol/events.ts';
import type { SessionStore } from '../sessions/ports.ts';
import { textFrame } from './frames.ts';

/** Events that are read at once. */
export const batch = 64;

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
  /** These events are new; they follow each other, and the reader may know some of them. */
  take(news: readonly Entry[]): void;
  /** There may be news, which it has to read by itself. */
  wake(): void;
}

/** The logs of the sessions that this node's sockets follow: one subscription and one read for all that follow the same. */
export class Feeds {
  readonly #store: SessionStore;
  /** Mostly one reader follows a session, and it reads by itself. */
  readonly #bySession = new Map<string, Reader | Feed>();
  /** One for all sessions: a function for each would be larger than all else that is kept of it here. */
  readonly #wake = (sessionId: string) => this.#bySession.get(sessionId)?.wake();

  constructor(store: SessionStore) {
    this.#store = store;
  }

  /** Lets a reader hear of a session, which must exist. */
  join(sessionId: string, reader: Reader): void {
    const held = this.#bySession.get(sessionId);
    if (held instanceof Feed) held.readers.add(reader);
    else if (held) this.#bySession.set(sessionId, new Feed(this.#store, sessionId, [held, reader]));
    else {
      this.#bySession.set(sessionId, reader);
      this.#store.subscribe(sessionId, this.#wake);
    }
  }

  /** A reader that joined wants to hear no more. */
  leave(sessionId: string, reader: Reader): void {
    const held = this.#bySession.get(sessionId);
    if (held instanceof Feed) {
      held.readers.delete(reader);
      if (held.readers.size > 0) return;
    }
    this.#bySession.delete(sessionId);
    this.#store.unsubscribe(sessionId, this.#wake);
  }

  /** Called by a reader that has read as far as there was anything: from here on it can be told. */
  caughtUp(sessionId: string, seq: number): void {
    const held = this.#bySession.get(sessionId);
    if (held instanceof Feed) held.caughtUp(seq);
  }
}

/** Reads the log of a session for several. */
class Feed {
  readonly readers: Set<Reader>;
  readonly #sessionId: string;
  readonly #store: SessionStore;
  /** The last event that every reader was told of; undefined: each reads by itself. */
  #seq: number | undefined;
  #reading = false;
  #again = false;

  constructor(store: SessionStore, sessionId: string, readers: Reader[]) {
    this.#store = store;
    this.#sessionId = sessionId;
    this.readers = new Set(readers);
  }

  #tell(what: (reader: Reader) => void): void {
    for (const reader of this.readers) what(reader);
  }

  caughtUp(seq: number): void {
    this.#seq ??= seq;
  }

  wake(): void {
    this.#again = true;
    if (!this.#reading) void this.#read();
  }

  async #read(): Promise<void> {
    this.#reading = true;
    try {
      while (this.#again) {
        this.#again = false;
        const seq = this.#seq;
        const found = seq === undefined ? undefined : this.#store.eventsAfter(this.#sessionId, seq, batch);
        const events = found instanceof Promise ? await found : found;
        if (!events) {
          this.#seq = undefined;
          this.#tell((reader) => reader.wake());
        } else if (events.length > 0) {
          this.#seq = events.at(-1)?.seq;
          this.#again ||= events.length === batch;
          const news = events.map((event) => new Entry(event));
          this.#tell((reader) => reader.take(news));
        }
      }
    } catch {
      // each meets the same, and does about it what it must
      this.#tell((reader) => reader.wake());
    } finally {
      this.#reading = false;
    }
  }
}
