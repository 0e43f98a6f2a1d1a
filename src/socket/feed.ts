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

  constructor(store: SessionStore) {
    this.#store = store;
  }

  /** Lets a reader hear of a session, which must exist. The feed ends with its last reader. */
  join(sessionId: string, reader: Reader): Feed {
    let feed = this.#bySession.get(sessionId);
    if (!feed) {
      feed = new Feed(this.#store, sessionId);
      this.#bySession.set(sessionId, feed);
    }
    feed.add(reader);
    return feed;
  }

  leave(feed: Feed, reader: Reader): void {
    if (!feed.remove(reader)) return;
    feed.stop();
    if (this.#bySession.get(feed.sessionId) === feed) this.#bySession.delete(feed.sessionId);
  }
}

export class Feed {
  readonly sessionId: string;
  readonly stop: () => void;
  readonly #store: SessionStore;
  /** Most sessions have one reader, and a set is larger than the rest of the feed. */
  #reader: Reader | undefined;
  #others: Set<Reader> | undefined;
  /** The last event that every reader was told of; undefined: each reads by itself. */
  #seq: number | undefined;
  #reading = false;
  #again = false;

  constructor(store: SessionStore, sessionId: string) {
    this.#store = store;
    this.sessionId = sessionId;
    this.stop = store.subscribe(sessionId, () => this.#wake());
  }

  add(reader: Reader): void {
    if (!this.#reader) this.#reader = reader;
    else {
      this.#others ??= new Set();
      this.#others.add(reader);
    }
  }

  /** @returns whether nobody is left */
  remove(reader: Reader): boolean {
    if (this.#reader === reader) this.#reader = undefined;
    else this.#others?.delete(reader);
    return this.#reader === undefined && !this.#others?.size;
  }

  #tell(what: (reader: Reader) => void): void {
    if (this.#reader) what(this.#reader);
    if (this.#others) for (const reader of this.#others) what(reader);
  }

  /** Called by a reader that has read as far as there was anything: from here on it can be told. */
  caughtUp(seq: number): void {
    this.#seq ??= seq;
  }

  #wake(): void {
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
