import type { Logger } from 'pino';
import type { Effect } from './draft.ts';
import type { Input } from './machine.ts';
import { type Offers, RoomNameTaken, type Rooms, RoomsError, type SessionStore } from './ports.ts';
import type { Session } from './record.ts';

interface EffectsParts {
  store: SessionStore;
  rooms: Rooms;
  offers: Offers;
  log: Logger;
  /** Takes what an effect has to say of its session. Cannot reject. */
  tell(id: string, input: Input): Promise<void>;
}

/** Carries out what a commit asks for. */
export class Effects {
  readonly #parts: EffectsParts;

  constructor(parts: EffectsParts) {
    this.#parts = parts;
  }

  /** Carries out one effect. What fails here is found again by a deadline in the record. Cannot reject. */
  async run(session: Session, effect: Effect): Promise<void> {
    const id = session.session_id;
    const { rooms, store, offers, log } = this.#parts;
    try {
      switch (effect.do) {
        case 'createRoom':
          return await this.#createRoom(session);
        case 'deleteRoom':
          return await this.#deleteRoom(session);
        case 'dispatch':
          return await offers.dispatch(session);
        case 'offer':
          return await offers.offer(session, effect.assignment);
        case 'leave':
          return offers.leave(id, effect.assignment, effect.reason);
        case 'presence':
          return offers.presence(session);
        case 'release':
          return offers.release(id, effect.assignment);
        case 'forget':
          return await store.deleteSession(id);
      }
    } catch (err) {
      log.error({ err, session_id: id, effect: effect.do, url: rooms.url }, 'effect failed');
    }
  }

  async #createRoom(session: Session): Promise<void> {
    const { rooms, log, tell } = this.#parts;
    if (!session.room) return;
    try {
      await rooms.create(session.room, session.session_id);
    } catch (err) {
      log.warn({ err, session_id: session.session_id, room: session.room.name }, 'livekit room create failed');
      const taken = err instanceof RoomNameTaken;
      const message = taken
        ? 'Somebody else made a room of this name'
        : `Failed to create room: ${err instanceof Error ? err.message : 'unknown'}`;
      const made = !taken && !(err instanceof RoomsError && !err.unknownOutcome);
      return tell(session.session_id, { type: 'RoomFailed', code: taken ? 'ROOM_NAME_IN_USE' : 'LIVEKIT_ERROR', message, made });
    }
    await tell(session.session_id, { type: 'RoomCreated', made: rooms.mode === 'create' });
  }

  async #deleteRoom(session: Session): Promise<void> {
    const { rooms, log, tell } = this.#parts;
    if (!session.room) return;
    try {
      await rooms.remove(session.room);
    } catch (err) {
      log.warn({ err, session_id: session.session_id, room: session.room.name }, 'livekit room delete failed; it is repeated');
      return tell(session.session_id, { type: 'RoomDeleteFailed' });
    }
    await tell(session.session_id, { type: 'RoomDeleted' });
  }
}
