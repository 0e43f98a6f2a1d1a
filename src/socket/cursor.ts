import { Close } from '../../protocol/close.ts';
import type { LogEvent } from '../../protocol/events.ts';
import type { Caller } from '../sessions/access.ts';
import type { Operations } from '../sessions/operations.ts';
import type { Rooms, SessionStore } from '../sessions/ports.ts';
import type { Connection } from './connection.ts';
import { batch, Entry, type Feeds, type Reader } from './feed.ts';
import type { LiveSessions } from './live.ts';

/** What all cursors of a node share. */
export interface CursorParts {
  store: SessionStore;
  feeds: Feeds;
  operations: Operations;
  rooms: Rooms;
  live: LiveSessions;
  callerAt(connection: Connection): Caller;
  onBug(error: unknown, connection: Connection): void;
}

/** A socket's place in the log of a session: answers the request that made it, then delivers each event once, in order. */
export abstract class Cursor implements Reader {
  protected readonly connection: Connection;
  protected readonly sessionId: string;
  protected readonly parts: CursorParts;
  /** The last event delivered; undefined: the request is not answered yet. */
  #seq: number | undefined;
  #pumping = false;
  #again = false;
  #stopped = false;

  constructor(connection: Connection, sessionId: string, parts: CursorParts) {
    this.connection = connection;
    this.sessionId = sessionId;
    this.parts = parts;
  }

  /** Answers the request that made the cursor. @returns the last event that the answer reflects; undefined: it is too early, or over */
  protected abstract begin(): Promise<number | undefined>;
  /** Whether this socket gets such an event in a form of its own. */
  protected abstract isDressed(event: LogEvent): boolean;
  /** That form. @returns undefined: this socket gets nothing any more */
  protected abstract dress(event: LogEvent): Promise<LogEvent | undefined>;
  /** The session is over, or nothing more may be told of it. */
  protected abstract onEnded(): void;
  /** Everything up to here has been sent: what `begin` said, and each event then. */
  protected passed?(seq: number, bytes: number): void;

  /** Begins. Called once. */
  start(): this {
    this.parts.feeds.join(this.sessionId, this);
    this.wake();
    return this;
  }

  /** There may be something to deliver, or it may be delivered now. */
  wake(): void {
    this.#again = true;
    if (!this.#pumping && !this.#stopped) void this.#pump([]);
  }

  take(news: readonly Entry[]): void {
    if (this.#pumping || this.#seq === undefined) return this.wake();
    const left = this.#sendNow(news);
    if (left.length > 0 && !this.#stopped) void this.#pump(left);
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.parts.feeds.leave(this.sessionId, this);
  }

  /** Nothing more comes here. */
  protected end(): void {
    // the socket may have gone on to something else
    if (this.#stopped) return;
    this.stop();
    this.onEnded();
  }

  /** Reads and delivers until there is nothing left, or the socket has enough. Cannot reject. */
  async #pump(news: readonly Entry[]): Promise<void> {
    this.#pumping = true;
    try {
      let left = news;
      while ((this.#again || left.length > 0) && !this.#stopped) {
        this.#again = false;
        if (this.#seq === undefined) {
          const seq = await this.begin();
          if (seq !== undefined) this.#moveTo(seq);
        }
        if (this.#seq !== undefined) await this.#deliver(left);
        left = [];
      }
    } catch (error) {
      this.parts.onBug(error, this.connection);
    } finally {
      this.#pumping = false;
    }
  }

  async #deliver(news: readonly Entry[]): Promise<void> {
    const { connection, sessionId, parts } = this;
    let isAll = false;
    for (let left = news; connection.writable && !this.#stopped; ) {
      const seq = this.#seq ?? 0;
      if (left.length === 0) {
        if (isAll) return parts.feeds.caughtUp(sessionId, seq);
        const found = parts.store.eventsAfter(sessionId, seq, batch);
        const events = found instanceof Promise ? await found : found;
        // it read so slowly that the log went on without it
        if (!events) return connection.close(Close.TooSlow);
        // a batch that is not full is the last
        isAll = events.length < batch;
        left = events.map((event) => new Entry(event));
      }
      left = this.#sendNow(left);
      const [next] = left;
      if (next === undefined) continue;
      // news without what lies between: all of it is read
      if (next.event.seq !== (this.#seq ?? 0) + 1) left = [];
      else if (!this.isDressed(next.event)) return;
      if (left.length === 0) continue;
      const dressed = await this.dress(next.event);
      if (this.#stopped) return;
      if (!dressed) return this.end();
      connection.send(dressed);
      this.#moveTo(dressed.seq);
      left = left.slice(1);
    }
  }

  /** Sends what can be sent without waiting. @returns what is left: it is dressed first, leaves a gap, or has no room */
  #sendNow(news: readonly Entry[]): readonly Entry[] {
    for (let i = 0; i < news.length && !this.#stopped; i++) {
      const entry = news[i] as Entry;
      const { event } = entry;
      const seq = this.#seq ?? 0;
      if (event.seq <= seq) continue;
      if (event.seq !== seq + 1 || this.isDressed(event) || !this.connection.writable) return news.slice(i);
      this.connection.sendFrame(entry.frame);
      this.#moveTo(event.seq, entry.frame.length);
      if (event.type === 'SessionEnded') this.end();
    }
    return [];
  }

  #moveTo(seq: number, bytes = 0): void {
    this.#seq = seq;
    this.passed?.(seq, bytes);
  }
}
