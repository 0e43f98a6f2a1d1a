import type { Logger } from 'pino';
import { Close } from '../../protocol/close.ts';
import type { LogEvent } from '../../protocol/events.ts';
import { StorageError } from '../errors.ts';
import type { Caller } from '../sessions/access.ts';
import type { Operations } from '../sessions/operations.ts';
import type { Rooms, SessionStore } from '../sessions/ports.ts';
import type { Session } from '../sessions/record.ts';
import type { Connection } from './connection.ts';
import { batch, Entry, type Feeds, type Reader } from './feed.ts';

/** What all cursors of a node share. */
export interface CursorParts {
  store: SessionStore;
  feeds: Feeds;
  operations: Operations;
  rooms: Rooms;
  callerAt(connection: Connection): Caller;
  log: Logger;
}

/** One for all: an event goes to many. */
const none: readonly Entry[] = [];

/**
 * A socket's place in the log of a session: answers the request that made it, then delivers each event once, in order.
 *
 *   waiting --wake, take--> busy: begin answers the request --it is too early--> waiting
 *                             |  --answered--> busy: delivers news, reads what is missing
 *                             +--nothing left, or the socket is full--> idle
 *   idle --take, and all can be sent now--> idle
 *   idle --take, wake--> busy         any --stop, end--> stopped
 */
export abstract class Cursor implements Reader {
  protected readonly connection: Connection;
  protected readonly sessionId: string;
  protected readonly parts: CursorParts;
  /** The last event delivered; undefined: the request is not answered yet. */
  #seq: number | undefined;
  #pumping = false;
  /** There may be events that it has to read. */
  #isBehind = false;
  /** Came while it was busy; undefined: nothing did. */
  #news: readonly Entry[] | undefined;
  /** The record after them, or without them; undefined: it has to be read. */
  #session: Session | undefined;
  #stopped = false;

  constructor(connection: Connection, sessionId: string, parts: CursorParts) {
    this.connection = connection;
    this.sessionId = sessionId;
    this.parts = parts;
  }

  /**
   * Answers the request that made the cursor.
   * @param session the record as it is now; undefined: it has to be read
   * @param news the latest events in it, where they are at hand
   * @returns the last event that the answer reflects; undefined: it is too early, or over
   */
  protected abstract begin(session: Session | undefined, news: readonly Entry[]): Promise<number | undefined>;
  /** Whether this socket gets such an event in its own form. */
  protected abstract needsPersonalizing(event: LogEvent): boolean;
  /**
   * Adapts an event for this socket: adds a token, checks access again.
   * @param session the record after the event, or after later ones; undefined: it has to be read
   * @returns undefined: this socket gets nothing from here on
   */
  protected abstract personalize(event: LogEvent, session: Session | undefined): Promise<LogEvent | undefined>;
  /** The session is over, or this socket may not receive more of it. */
  protected abstract onEnded(): void;
  /** Everything up to here has been sent: what `begin` said, and each event then. */
  protected passed?(seq: number, bytes: number): void;

  /** Starts to follow a session that exists. */
  start(): this {
    this.expect();
    this.wake();
    return this;
  }

  /** Follows a session that is about to be created: its first commit comes here as any other. */
  expect(): this {
    this.parts.feeds.join(this.sessionId, this);
    return this;
  }

  /** There may be something to deliver, or it may be delivered now. */
  wake(): void {
    this.#isBehind = true;
    if (!this.#pumping && !this.#stopped) void this.#pump();
  }

  take(news: readonly Entry[], session: Session | undefined): void {
    if (this.#stopped) return;
    const isBusy = this.#pumping || this.#seq === undefined;
    const left = isBusy ? news : this.#sendNow(news);
    if (!isBusy && left.length === 0) return;
    this.#keep(left, session);
    if (!this.#pumping && !this.#stopped) void this.#pump();
  }

  #keep(news: readonly Entry[], session: Session | undefined): void {
    this.#news = this.#news ? [...this.#news, ...news] : news;
    this.#session = session;
    if (this.#news.length <= batch) return;
    // what is not kept here is read
    this.#news = undefined;
    this.#isBehind = true;
  }

  protected get isStopped(): boolean {
    return this.#stopped;
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
  async #pump(): Promise<void> {
    this.#pumping = true;
    try {
      while ((this.#isBehind || this.#news) && !this.#stopped) {
        const news = this.#news ?? [];
        const session = this.#session;
        const isBehind = this.#isBehind;
        this.#news = this.#session = undefined;
        this.#isBehind = false;
        if (this.#seq === undefined) {
          // a record that came with news may be older than what has to be read
          const seq = await this.begin(isBehind ? undefined : session, news);
          if (seq !== undefined) this.#moveTo(seq);
        }
        if (this.#seq !== undefined) await this.#deliver(news, session, isBehind);
      }
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#pumping = false;
    }
  }

  #failed(err: unknown): void {
    const { connection, sessionId, parts } = this;
    const fields = { err, connection_id: connection.id, session_id: sessionId };
    // a storage that is down for a while costs no session
    if (err instanceof StorageError) {
      parts.log.debug(fields, 'events could not be read; they are read later');
      return connection.stall();
    }
    parts.log.error(fields, 'session could not be followed');
    connection.close(Close.Internal);
  }

  /** @param isBehind there may be more than these news, in the log */
  async #deliver(news: readonly Entry[], session: Session | undefined, isBehind: boolean): Promise<void> {
    const { connection, sessionId, parts } = this;
    const reached = Math.max(this.#seq ?? 0, news.at(-1)?.event.seq ?? 0);
    let mustRead = isBehind || (session !== undefined && reached < session.seq);
    for (let left = news; connection.writable && !this.#stopped; ) {
      const seq = this.#seq ?? 0;
      if (left.length === 0) {
        if (!mustRead) return parts.feeds.caughtUp(sessionId, seq);
        const found = parts.store.eventsAfter(sessionId, seq, batch);
        const events = found instanceof Promise ? await found : found;
        // it read so slowly that the log went on without it
        if (!events) return connection.close(Close.TooSlow);
        // a batch that is not full is the last
        mustRead = events.length === batch;
        left = events.map((event) => new Entry(event));
      }
      left = this.#sendNow(left);
      const [next] = left;
      if (next === undefined) continue;
      // news without what lies between: all of it is read
      if (next.event.seq !== (this.#seq ?? 0) + 1) {
        left = [];
        mustRead = true;
      } else if (!this.needsPersonalizing(next.event)) return;
      if (left.length === 0) continue;
      const event = await this.personalize(next.event, session && session.seq >= next.event.seq ? session : undefined);
      if (this.#stopped) return;
      if (!event) return this.end();
      connection.send(event);
      this.#moveTo(event.seq);
      left = left.slice(1);
    }
  }

  /** Sends what can be sent without waiting. @returns what is left: it is personalized first, leaves a gap, or has no room */
  #sendNow(news: readonly Entry[]): readonly Entry[] {
    for (let i = 0; i < news.length && !this.#stopped; i++) {
      const entry = news[i] as Entry;
      const { event } = entry;
      const seq = this.#seq ?? 0;
      if (event.seq <= seq) continue;
      if (event.seq !== seq + 1 || this.needsPersonalizing(event) || !this.connection.writable) return news.slice(i);
      this.connection.sendFrame(entry.frame);
      this.#moveTo(event.seq, entry.frame.length);
      if (event.type === 'SessionEnded') this.end();
    }
    return none;
  }

  #moveTo(seq: number, bytes = 0): void {
    this.#seq = seq;
    this.passed?.(seq, bytes);
  }
}
