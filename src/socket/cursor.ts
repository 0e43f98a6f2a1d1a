import { Close } from '../../protocol/close.ts';
import { answer } from '../../protocol/requests.ts';
import { type Operations, whyNotCreated } from '../sessions/operations.ts';
import type { Rooms, SessionStore } from '../sessions/ports.ts';
import type { Connection } from './connection.ts';

const batch = 64;

interface CursorParts {
  connection: Connection;
  sessionId: string;
  /** Of the NewSessionRequest, which is answered when the session leaves Creating. */
  requestId: string | undefined;
  /** The session was there before. */
  replayed: boolean;
  store: SessionStore;
  rooms: Rooms;
  operations: Operations;
  /** The session is over, and the connection was told. */
  onEnded(): void;
  onError(error: unknown): void;
}

/** A socket's place in the log of its session: answers the request that made it, then delivers each event once, in order. */
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
        if (this.#seq === undefined) await this.#answer();
        if (this.#seq !== undefined) await this.#deliver(this.#seq);
      }
    } catch (error) {
      this.#parts.onError(error);
    } finally {
      this.#pumping = false;
    }
  }

  async #answer(): Promise<void> {
    const { store, sessionId, connection, requestId, operations, replayed } = this.#parts;
    const session = await store.loadSession(sessionId);
    if (!session || session.status === 'Creating' || this.#stopped) return;
    // it never got as far as waiting for anything
    const refusal = session.timings.room_ms === undefined && session.room ? whyNotCreated(session) : undefined;
    if (refusal) {
      this.#end();
      return connection.sendError(refusal, requestId);
    }
    // of a session that is over by now SessionEnded, its last event, is still to be told
    const seq = session.status === 'Terminated' ? session.seq - 1 : session.seq;
    connection.sendAnswer(answer('NewSessionResponse', { ...(await operations.created(session, replayed)), seq }), requestId);
    this.#seq = seq;
  }

  async #deliver(from: number): Promise<void> {
    const { store, sessionId, connection } = this.#parts;
    for (let seq = from; connection.writable && !this.#stopped; ) {
      const events = await store.eventsAfter(sessionId, seq, batch);
      // it read so slowly that the log went on without it
      if (!events) return connection.close(Close.TooSlow);
      if (events.length === 0) return;
      for (const event of events) {
        if (this.#stopped) return;
        const token = event.type === 'SessionReady' ? await this.#token() : undefined;
        connection.send(token === undefined ? event : { ...event, access_token: token });
        seq = this.#seq = event.seq;
        if (event.type === 'SessionEnded') return this.#end();
      }
    }
  }

  /** The log holds no token: it is signed when it is delivered. */
  async #token(): Promise<string | undefined> {
    const session = await this.#parts.store.loadSession(this.#parts.sessionId);
    return session && this.#parts.rooms.clientToken(session);
  }

  #end(): void {
    this.stop();
    this.#parts.onEnded();
  }
}
