import { Close } from '../../protocol/close.ts';
import type { LogEvent } from '../../protocol/events.ts';
import { answer } from '../../protocol/requests.ts';
import { type Operations, whyNotCreated } from '../sessions/operations.ts';
import type { Rooms, SessionStore } from '../sessions/ports.ts';
import { isEnded, type Session } from '../sessions/record.ts';
import { resumeInvalid } from '../sessions/resume.ts';
import { snapshot } from '../sessions/snapshot.ts';
import type { Connection } from './connection.ts';
import { batch, Entry, type Feed, type Feeds, type Reader } from './feed.ts';

interface CursorParts {
  connection: Connection;
  sessionId: string;
  store: SessionStore;
  feeds: Feeds;
  /** Answers the request that made the cursor. @returns the last event that the answer reflects; undefined: it is too early */
  begin(): Promise<number | undefined>;
  /** Everything up to here has been sent: what `begin` said, and each event then. */
  sent?(seq: number): void;
  /** Whether this socket gets such an event in a form of its own. */
  isDressed(event: LogEvent): boolean;
  /** That form. @returns undefined: this socket gets nothing any more */
  dress(event: LogEvent): Promise<LogEvent | undefined>;
  /** The session is over, or nothing more may be told of it. */
  onEnded(): void;
  onError(error: unknown): void;
}

/** A socket's place in the log of a session: answers the request that made it, then delivers each event once, in order. */
export class Cursor implements Reader {
  readonly #parts: CursorParts;
  readonly #feed: Feed;
  /** The last event delivered; undefined: the request is not answered yet. */
  #seq: number | undefined;
  #pumping = false;
  #again = false;
  #stopped = false;

  constructor(parts: CursorParts) {
    this.#parts = parts;
    this.#feed = parts.feeds.join(parts.sessionId, this);
    this.wake();
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
    this.#stopped = true;
    this.#parts.feeds.leave(this.#feed, this);
  }

  /** Reads and delivers until there is nothing left, or the socket has enough. */
  async #pump(news: readonly Entry[]): Promise<void> {
    this.#pumping = true;
    try {
      let left = news;
      while ((this.#again || left.length > 0) && !this.#stopped) {
        this.#again = false;
        if (this.#seq === undefined) {
          const seq = await this.#parts.begin();
          if (seq !== undefined) this.#passed(seq);
        }
        if (this.#seq !== undefined) await this.#deliver(this.#seq, left);
        left = [];
      }
    } catch (error) {
      this.#parts.onError(error);
    } finally {
      this.#pumping = false;
    }
  }

  async #deliver(from: number, news: readonly Entry[]): Promise<void> {
    const { store, sessionId, connection, dress } = this.#parts;
    for (let seq = from, left = news; connection.writable && !this.#stopped; seq = this.#seq ?? from) {
      if (left.length === 0) {
        const found = store.eventsAfter(sessionId, seq, batch);
        const events = found instanceof Promise ? await found : found;
        // it read so slowly that the log went on without it
        if (!events) return connection.close(Close.TooSlow);
        if (events.length === 0) return this.#feed.caughtUp(seq);
        left = events.map((event) => new Entry(event));
      }
      left = this.#sendNow(left);
      const [next] = left;
      if (next === undefined) continue;
      // news without what lies between: all of it is read
      if (next.event.seq !== (this.#seq ?? 0) + 1) left = [];
      else if (!this.#parts.isDressed(next.event)) return;
      if (left.length === 0) continue;
      const dressed = await dress(next.event);
      if (this.#stopped) return;
      if (!dressed) return this.#end();
      connection.send(dressed);
      this.#passed(dressed.seq);
      left = left.slice(1);
    }
  }

  /** Sends what can be sent without waiting. @returns what is left: it is dressed first, leaves a gap, or has no room */
  #sendNow(news: readonly Entry[]): readonly Entry[] {
    const { connection, isDressed } = this.#parts;
    for (let i = 0; i < news.length && !this.#stopped; i++) {
      const entry = news[i] as Entry;
      const { event } = entry;
      const seq = this.#seq ?? 0;
      if (event.seq <= seq) continue;
      if (event.seq !== seq + 1 || isDressed(event) || !connection.writable) return news.slice(i);
      connection.sendFrame(entry.frame);
      this.#passed(event.seq);
      if (event.type === 'SessionEnded') this.#end();
    }
    return [];
  }

  #passed(seq: number): void {
    this.#seq = seq;
    this.#parts.sent?.(seq);
  }

  #end(): void {
    this.stop();
    this.#parts.onEnded();
  }
}

/** What a cursor on the socket's own session needs. */
interface OwnParts extends Omit<CursorParts, 'begin' | 'sent' | 'isDressed' | 'dress'> {
  /** Of the request that made it. */
  requestId: string | undefined;
  operations: Operations;
  rooms: Rooms;
  /** Another socket holds the session by now. */
  onTakenOver(): undefined;
}

interface FollowParts extends OwnParts {
  /** The session was there before. */
  replayed: boolean;
  resumeToken: string | undefined;
}

/** Follows the session that the socket asked for: answers when it leaves Creating. */
export function follow({ requestId, replayed, resumeToken, ...common }: FollowParts): Cursor {
  const { connection, sessionId, store, operations } = common;
  const cursor: Cursor = new Cursor({
    ...common,
    async begin() {
      const session = await store.loadSession(sessionId);
      if (!session || session.status === 'Creating') return undefined;
      if (isAnothers(session, connection)) return common.onTakenOver();
      // it never got as far as waiting for anything
      const refusal = session.timings.room_ms === undefined && session.room ? whyNotCreated(session) : undefined;
      if (refusal) {
        cursor.stop();
        common.onEnded();
        connection.sendError(refusal, requestId);
        return undefined;
      }
      // of a session that is over by now SessionEnded, its last event, is still to be told
      const seq = session.status === 'Terminated' ? session.seq - 1 : session.seq;
      const created = await operations.created(session, replayed);
      const body = { ...created, seq, ...(resumeToken !== undefined && { resume_token: resumeToken }) };
      connection.sendAnswer(answer('NewSessionResponse', body), requestId);
      return seq;
    },
    isDressed: ({ type }) => type === 'SessionReady',
    dress: withToken(common),
  });
  return cursor;
}

/** Follows the session that the socket has taken over, from the last event that the client has: answers, replays what it missed, says when it has done so. */
export function resume({ requestId, lastSeq, ...common }: OwnParts & { lastSeq: number }): Cursor {
  const { connection, sessionId, store, operations } = common;
  /** The replay ends with this event; undefined: it has ended. */
  let replayUntil: number | undefined;
  let isOver = false;
  const cursor: Cursor = new Cursor({
    ...common,
    async begin() {
      const session = await store.loadSession(sessionId);
      if (session && isAnothers(session, connection)) return common.onTakenOver();
      const kept = session && lastSeq <= session.seq && (await store.eventsAfter(sessionId, lastSeq, 1)) !== undefined;
      if (!session) {
        cursor.stop();
        common.onEnded();
        connection.sendError(resumeInvalid(), requestId);
        return undefined;
      }
      replayUntil = session.seq;
      isOver = session.status === 'Terminated';
      const token = kept ? undefined : await operations.joinToken(session);
      const body = {
        session_id: sessionId,
        recovered: kept === true,
        snapshot: { ...snapshot(session), shares: session.shares },
        from_seq: (kept ? lastSeq : session.seq) + 1,
        to_seq: session.seq,
        ...(token !== undefined && { access_token: token }),
      };
      connection.sendAnswer(answer('ResumeResponse', body), requestId);
      return kept ? lastSeq : session.seq;
    },
    sent(seq) {
      if (seq !== replayUntil) return;
      replayUntil = undefined;
      connection.send({ type: 'ResumeComplete', session_id: sessionId, seq });
      // nothing follows that would free the socket
      if (!isOver) return;
      cursor.stop();
      common.onEnded();
    },
    isDressed: ({ type }) => type === 'SessionReady',
    dress: withToken(common),
  });
  return cursor;
}

/** Of one that has ended every socket that asked for it in time is told how. */
const isAnothers = (session: Session, { id }: Connection) => !isEnded(session) && session.connection_id !== id;

/** Adds the token where the session becomes Ready: the log holds none, it is signed when it is delivered. */
const withToken =
  ({ store, rooms, sessionId }: Pick<OwnParts, 'store' | 'rooms' | 'sessionId'>) =>
  async (event: LogEvent): Promise<LogEvent> => {
    const session = await store.loadSession(sessionId);
    return session?.room && !isEnded(session) ? ({ ...event, access_token: await rooms.clientToken(session) } as LogEvent) : event;
  };

/** Follows a session that somebody else holds, from its record as read, as long as `mayRead`. */
export function watch({ mayRead, ...parts }: Omit<CursorParts, 'isDressed' | 'dress'> & { mayRead(): Promise<boolean> }): Cursor {
  return new Cursor({
    ...parts,
    isDressed: ({ type }) => type === 'SessionUpdated',
    dress: (event) => mayRead().then((may) => (may ? event : undefined)),
  });
}
