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
  readonly #bySession = new Map<string, Feed>();
  /** One for all sessions: a function for each would be larger than its feed. */
  readonly #wake = (sessionId: string) => this.#bySession.get(sessionId)?.wake();

  constructor(store: SessionStore) {
    this.#store = store;
  }

  /** Lets a reader hear of a session, which must exist. The feed ends with its last reader. */
  join(sessionId: string, reader: Reader): Feed {
    let feed = this.#bySession.get(sessionId);
    if (!feed) {
      feed = new Feed(this.#store, sessionId);
      this.#bySession.set(sessionId, feed);
      this.#store.subscribe(sessionId, this.#wake);
    }
    feed.add(reader);
    return feed;
  }

  leave(feed: Feed, reader: Reader): void {
    if (!feed.remove(reader)) return;
    this.#bySession.delete(feed.sessionId);
    this.#store.unsubscribe(feed.sessionId, this.#wake);
  }
}

export class Feed {
  readonly sessionId: string;
  readonly #store: SessionStore;
  /** Mostly one, which needs no set. */
  #readers: Reader | Set<Reader> | undefined;
  /** The last event that every reader was told of; undefined: each reads by itself. */
  #seq: number | undefined;
  #reading = false;
  #again = false;

  constructor(store: SessionStore, sessionId: string) {
    this.#store = store;
    this.sessionId = sessionId;
  }

  add(reader: Reader): void {
    if (this.#readers === undefined) this.#readers = reader;
    else if (this.#readers instanceof Set) this.#readers.add(reader);
    else this.#readers = new Set([this.#readers, reader]);
  }

  /** @returns whether nobody is left */
  remove(reader: Reader): boolean {
    if (this.#readers === reader) this.#readers = undefined;
    else if (this.#readers instanceof Set && this.#readers.delete(reader) && this.#readers.size === 0) this.#readers = undefined;
    return this.#readers === undefined;
  }

  #tell(what: (reader: Reader) => void): void {
    if (this.#readers instanceof Set) for (const reader of this.#readers) what(reader);
    else if (this.#readers) what(this.#readers);
  }

  /** Called by a reader that has read as far as there was anything: from here on it can be told. */
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
        const found = seq === undefined ? undefined : this.#store.eventsAfter(this.sessionId, seq, batch);
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
