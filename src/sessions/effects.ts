import type { Logger } from 'pino';
import { StorageError } from '../errors.ts';
import type { Effect } from './draft.ts';
import type { Input } from './inputs.ts';
import { type Offers, RoomNameTaken, type Rooms, RoomsError, type SessionStore } from './ports.ts';
import type { Session } from './record.ts';

interface EffectsParts {
  store: SessionStore;
  rooms: Rooms;
  offers(): Offers;
  log: Logger;
  /** Applies the outcome of an effect to its session. Cannot reject. */
  report(id: string, input: Input): Promise<void>;
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
          return await offers().dispatch(session);
        case 'offer':
          return await offers().commands.offer(session, effect.assignment);
        case 'leave':
          return offers().commands.leave(id, effect.assignment, effect.reason);
        case 'notify':
          return offers().commands.notify(session, effect.what);
        case 'release':
          return offers().release(id, effect.assignment, effect.isLapsed);
        case 'forget':
          return await store.deleteSession(id);
        default:
          effect satisfies never;
      }
    } catch (err) {
      log[err instanceof StorageError ? 'debug' : 'error'](
        { err, session_id: id, effect: effect.do, url: rooms.url },
        'side effect failed',
      );
    }
  }

  async #createRoom(session: Session): Promise<void> {
    const { rooms, report } = this.#parts;
    if (!session.room) return;
    try {
      await rooms.create(session.room, session.session_id);
    } catch (err) {
      this.#logRoomError(err, session, 'room creation failed');
      return report(session.session_id, roomFailed(err));
    }
    await report(session.session_id, { type: 'RoomCreated', made: rooms.mode === 'create' });
  }

  async #deleteRoom(session: Session): Promise<void> {
    const { rooms, report } = this.#parts;
    if (!session.room) return;
    try {
      await rooms.remove(session.room.name);
    } catch (err) {
      this.#logRoomError(err, session, 'room deletion failed, will retry');
      return report(session.session_id, { type: 'RoomDeleteFailed' });
    }
    await report(session.session_id, { type: 'RoomDeleted' });
  }

  #logRoomError(err: unknown, { session_id, room }: Session, text: string): void {
    const { log } = this.#parts;
    const fields = { session_id, room: room?.name };
    if (!(err instanceof RoomsError || err instanceof RoomNameTaken)) return log.error({ err, ...fields }, text);
    // what concerns every room is logged once, by those who call LiveKit
    const isKnown = err instanceof RoomsError && (err.kind === 'unreachable' || err.kind === 'unauthorized');
    log[isKnown ? 'debug' : 'warn']({ reason: err.message, ...fields }, text);
  }
}

/** What a session and its client see of a room that could not be created: nothing that is meant for the operator. */
function roomFailed(err: unknown): Extract<Input, { type: 'RoomFailed' }> {
  if (err instanceof RoomNameTaken) {
    return { type: 'RoomFailed', code: 'ROOM_NAME_IN_USE', message: 'A room of this name already exists', made: false };
  }
  const code = 'LIVEKIT_ERROR';
  if (!(err instanceof RoomsError)) return { type: 'RoomFailed', code, message: 'The room could not be created', made: true };
  const made = err.unknownOutcome;
  return err.isPassing
    ? { type: 'RoomFailed', code, message: 'LiveKit is unreachable', made }
    : { type: 'RoomFailed', code, message: 'LiveKit refused the request', retryable: false, made };
}
