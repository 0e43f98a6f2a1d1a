import type { LogEvent } from '../../protocol/events.ts';
import { largeBytes } from '../level.ts';
import type { SessionStore } from '../sessions/ports.ts';
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
  /** These events are new; they follow each other, and the reader may know some of them. */
  take(news: readonly Entry[]): void;
  /** There may be news, which it has to read by itself. */
  wake(): void;
}

/** The logs of the sessions that this node's sockets follow: one subscription and one read for all that follow the same. */
export class Feeds {
  readonly #store: SessionStore;
  readonly #turn: Turn;
  /** Mostly one reader follows a session, and it reads by itself. */
  readonly #bySession = new Map<string, Reader | Feed>();
  /** One for all sessions: a function for each would be larger than all else that is kept of it here. */
  readonly #wake = (sessionId: string) => this.#bySession.get(sessionId)?.wake();

  constructor(store: SessionStore, turn: Turn) {
    this.#store = store;
    this.#turn = turn;
  }

  /** Lets a reader hear of a session, which must exist. */
  join(sessionId: string, reader: Reader): void {
    const held = this.#bySession.get(sessionId);
    if (held instanceof Feed) held.readers.add(reader);
    else if (held) this.#bySession.set(sessionId, new Feed(this.#store, this.#turn, sessionId, [held, reader]));
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
  readonly #turn: Turn;
  /** The last event that every reader was told of; undefined: each reads by itself. */
  #seq: number | undefined;
  #reading = false;
  #again = false;

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
          this.#wakeAll();
        } else if (events.length > 0) {
          this.#seq = events.at(-1)?.seq;
          this.#again ||= events.length === batch;
          const news = events.map((event) => new Entry(event));
          if (news.some(({ frame }) => frame.length > largeBytes)) await this.#tellInTurns(news);
          else for (const reader of this.readers) reader.take(news);
        }
      }
    } catch {
      // each meets the same, and does about it what it must
      this.#wakeAll();
    } finally {
      this.#reading = false;
    }
  }

  #wakeAll(): void {
    for (const reader of this.readers) reader.wake();
  }

  /** Waits for a turn with room whenever there is none: large frames to many take long, and whoever asks for little comes in between. */
  async #tellInTurns(news: readonly Entry[]): Promise<void> {
    let left = atOnce;
    for (const reader of this.readers) {
      if (left <= 0) {
        if (!this.#turn.hasRoom) await this.#turn.next();
        left = atOnce;
      }
      reader.take(news);
      for (const entry of news) left -= 1 + entry.frame.length / bytesEach;
    }
  }
}
