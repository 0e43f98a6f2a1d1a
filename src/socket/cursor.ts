import { Close } from '../../protocol/close.ts';
import type { LogEvent } from '../../protocol/events.ts';
import { answer } from '../../protocol/requests.ts';
import { type Operations, whyNotCreated } from '../sessions/operations.ts';
import type { Rooms, SessionStore } from '../sessions/ports.ts';
import type { Connection } from './connection.ts';

const batch = 64;

interface CursorParts {
  connection: Connection;
  sessionId: string;
  store: SessionStore;
  /** Answers the request that made the cursor. @returns the last event that the answer reflects; undefined: it is too early */
  begin(): Promise<number | undefined>;
  /** An event as this socket gets it. @returns undefined: this socket gets nothing any more */
  dress(event: LogEvent): LogEvent | Promise<LogEvent | undefined>;
  /** The session is over, or nothing more may be told of it. */
  onEnded(): void;
  onError(error: unknown): void;
}

/** A socket's place in the log of a session: answers the request that made it, then delivers each event once, in order. */
export class Cursor {
  readonly #parts: CursorParts;
  readonly #unsubscribe: () => void;
  /** The last event delivered; undefined: the request is not answered yet. */
  #seq: number | undefined;
  #pumping = false;
  #again = false;
  #stopped = false;

  constructor(parts: CursorParts) {
    this.#parts = parts;
    this.#unsubscribe = parts.store.subscribe(parts.sessionId, () => this.wake());
    this.wake();
  }

  /** There may be something to deliver. */
  wake(): void {
    this.#again = true;
    if (!this.#pumping && !this.#stopped) void this.#pump();
  }

  stop(): void {
    this.#stopped = true;
    this.#unsubscribe();
  }

  async #pump(): Promise<void> {
    this.#pumping = true;
    try {
      while (this.#again && !this.#stopped) {
        this.#again = false;
        this.#seq ??= await this.#parts.begin();
        if (this.#seq !== undefined) await this.#deliver(this.#seq);
      }
    } catch (error) {
      this.#parts.onError(error);
    } finally {
      this.#pumping = false;
    }
  }

  async #deliver(from: number): Promise<void> {
    const { store, sessionId, connection, dress } = this.#parts;
    for (let seq = from; connection.writable && !this.#stopped; ) {
      const events = await store.eventsAfter(sessionId, seq, batch);
      // it read so slowly that the log went on without it
      if (!events) return connection.close(Close.TooSlow);
      if (events.length === 0) return;
      for (const event of events) {
        if (this.#stopped) return;
        const made = dress(event);
        const dressed = made instanceof Promise ? await made : made;
        if (this.#stopped) return;
        if (dressed) connection.send(dressed);
        seq = this.#seq = event.seq;
        if (!dressed || event.type === 'SessionEnded') {
          this.stop();
          return this.#parts.onEnded();
        }
      }
    }
  }
}

interface FollowParts extends Omit<CursorParts, 'begin' | 'dress'> {
  /** Of the NewSessionRequest. */
  requestId: string | undefined;
  /** The session was there before. */
  replayed: boolean;
  operations: Operations;
  rooms: Rooms;
}

/** Follows the session that the socket asked for: answers when it leaves Creating, and adds the token where the session becomes Ready. */
export function follow({ operations, requestId, rooms, replayed, ...common }: FollowParts): Cursor {
  const { connection, sessionId, store } = common;
  const cursor: Cursor = new Cursor({
    ...common,
    async begin() {
      const session = await store.loadSession(sessionId);
      if (!session || session.status === 'Creating') return undefined;
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
      connection.sendAnswer(answer('NewSessionResponse', { ...(await operations.created(session, replayed)), seq }), requestId);
      return seq;
    },
    dress: (event) => (event.type === 'SessionReady' ? withToken(event) : event),
  });

  /** The log holds no token: it is signed when it is delivered. */
  const withToken = async (event: LogEvent<'SessionReady'>): Promise<LogEvent> => {
    const session = await store.loadSession(sessionId);
    return session ? { ...event, access_token: await rooms.clientToken(session) } : event;
  };
  return cursor;
}

/** Follows a session that somebody else holds, from its record as read, as long as `mayRead`. */
export function watch({ mayRead, ...parts }: Omit<CursorParts, 'dress'> & { mayRead(): Promise<boolean> }): Cursor {
  return new Cursor({
    ...parts,
    dress: (event) => (event.type === 'SessionUpdated' ? mayRead().then((may) => (may ? event : undefined)) : event),
  });
}
