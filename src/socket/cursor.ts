import { Close } from '../../protocol/close.ts';
import { answer } from '../../protocol/requests.ts';
import { GatewayError } from '../sessions/errors.ts';
import type { Rooms, SessionStore } from '../sessions/ports.ts';
import type { Session } from '../sessions/record.ts';
import { iso, pendingServices, readyServices } from '../sessions/snapshot.ts';
import type { Connection } from './connection.ts';

const batch = 64;

interface CursorParts {
  connection: Connection;
  sessionId: string;
  /** Of the NewSessionRequest, which is answered when the session leaves Creating. */
  requestId: string | undefined;
  store: SessionStore;
  rooms: Rooms;
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
    const { store, sessionId, connection, requestId } = this.#parts;
    const session = await store.loadSession(sessionId);
    if (!session || session.status === 'Creating' || this.#stopped) return;
    if (session.ended && session.room?.state !== 'open' && session.timings.room_ms === undefined) {
      this.#end();
      const { reason, error } = session.ended;
      connection.sendError(
        error
          ? new GatewayError(error.code, error.message, { details: { session_id: sessionId } })
          : new GatewayError('ILLEGAL_STATE', 'the session was ended while it was created', { details: { reason, session_id: sessionId } }),
        requestId,
      );
      return;
    }
    const body = await this.#response(session);
    connection.sendAnswer(answer('NewSessionResponse', body), requestId);
    this.#seq = session.seq;
  }

  async #response(session: Session) {
    const { room } = session;
    const open = session.status === 'Ready' || session.status === 'Active' || session.token_policy === 'immediate';
    return {
      session_id: session.session_id,
      status: session.status,
      ...(room && { room_name: room.name, livekit_url: room.livekit_url }),
      ...(room && open && { access_token: await this.#parts.rooms.clientToken(session) }),
      ...(session.workspace_dir !== undefined && { workspace_dir: session.workspace_dir }),
      ready_services: readyServices(session),
      pending_services: pendingServices(session),
      created_at: iso(session.created_at),
      expires_at: iso(session.expires_at),
      seq: session.seq,
      timings: session.timings,
    };
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
