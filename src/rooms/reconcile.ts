import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import type { Sessions } from '../sessions/commits.ts';
import { type Rooms, RoomsError } from '../sessions/ports.ts';
import { assignments, isEnded, type Session, userIsIn } from '../sessions/record.ts';

const sweepMs = 500;
const awaitedMs = 2_000;
const quietMs = 30_000;
const maxCalls = 20;

interface Watched {
  session: Session;
  /** Milliseconds since the reconciler began: the engine keeps small numbers in place. */
  nextAt: number;
  looking: boolean;
  /** The bell rang during a look. */
  rung: boolean;
}

interface ReconcilerParts {
  sessions: Sessions;
  rooms: Rooms;
  clock: Clock;
  log: Logger;
  /** How long LiveKit may be out of reach before sessions end. */
  lostAfterMs: number;
}

/**
 * Brings what LiveKit shows of the rooms into the sessions: looks at each open room every 2 s while somebody is awaited in it, else every 30 s.
 * `close` stops the looks.
 */
export class Reconciler {
  /** By LiveKit's name of the room, which no two live sessions have. */
  readonly #watched = new Map<string, Watched>();
  readonly #parts: ReconcilerParts;
  readonly #startedAt: number;
  readonly #stop: () => void;
  /** Rooms that are due, the longest due last: it is looked at next. */
  #queue: Watched[] = [];
  #calls = 0;

  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
    this.#startedAt = parts.clock.now();
    parts.sessions.onCommit(({ session }) => this.#watch(session));
    this.#stop = parts.clock.every(sweepMs, () => this.#sweep());
  }

  close(): void {
    this.#stop();
  }

  /** Something happened in this room: it is looked at now, or once more after a look under way. */
  ring(room: string): void {
    const watched = this.#watched.get(room);
    if (!watched) return;
    watched.nextAt = 0;
    if (watched.looking) watched.rung = true;
    else {
      this.#queue.push(watched);
      this.#fill();
    }
  }

  /** How many rooms it looks at. */
  get size(): number {
    return this.#watched.size;
  }

  #now(): number {
    return this.#parts.clock.now() - this.#startedAt;
  }

  #watch(session: Session): void {
    const { room } = session;
    if (!room) return;
    const { name } = room;
    const found = this.#watched.get(name);
    // a name that is free again may be another session's by now
    const watched = found?.session.session_id === session.session_id ? found : undefined;
    if (room.state !== 'open' || isEnded(session)) {
      if (watched) this.#watched.delete(name);
      return;
    }
    const nextAt = this.#now() + everyMs(session);
    if (!watched) this.#watched.set(name, { session, nextAt, looking: false, rung: false });
    else {
      watched.session = session;
      watched.nextAt = Math.min(watched.nextAt, nextAt);
    }
  }

  #sweep(): void {
    const now = this.#now();
    if (this.#queue.length === 0) {
      const due: Watched[] = [];
      for (const watched of this.#watched.values()) if (watched.nextAt <= now && !watched.looking) due.push(watched);
      due.sort((a, b) => b.nextAt - a.nextAt);
      // one look finds out when LiveKit is back; the others would say nothing until then
      this.#queue = this.#isAway() ? due.slice(-1) : due;
    }
    this.#fill();
  }

  /** LiveKit is out of reach, and not yet for so long that sessions end. */
  #isAway(): boolean {
    const { rooms, clock, lostAfterMs } = this.#parts;
    const { ever, downSince } = rooms.reach;
    return downSince !== undefined && !(ever && clock.now() - downSince >= lostAfterMs);
  }

  /** Begins as many looks as may be under way. */
  #fill(): void {
    while (this.#calls < maxCalls) {
      const watched = this.#queue.pop();
      if (!watched) return;
      const { room } = watched.session;
      const name = room?.name;
      if (name !== undefined && !watched.looking && this.#watched.get(name) === watched) void this.#look(watched, name);
    }
  }

  /** Polls one room and reports to its session who is there. From an unreachable LiveKit nothing is concluded about the room. */
  async #look(watched: Watched, room: string): Promise<void> {
    const { sessions, rooms, log } = this.#parts;
    const { session } = watched;
    watched.looking = true;
    this.#calls += 1;
    try {
      const participants = await rooms.participants(room);
      await sessions.report(session.session_id, participants ? { type: 'RoomSeen', participants } : { type: 'RoomGone' });
    } catch (err) {
      if (!(err instanceof RoomsError)) log.error({ err, session_id: session.session_id }, 'room poll failed');
      if (rooms.reach.downSince !== undefined && rooms.reach.ever && !this.#isAway())
        await sessions.report(session.session_id, { type: 'LiveKitLost' });
    } finally {
      this.#calls -= 1;
      watched.looking = false;
      watched.nextAt = watched.rung ? 0 : this.#now() + everyMs(watched.session);
      watched.rung = false;
      this.#fill();
    }
  }
}

/** Somebody is on the way: the user, or a service that has accepted. */
function everyMs(session: Session): number {
  const awaited = !userIsIn(session) || assignments(session).some((a) => !a.joined || a.suspect);
  return awaited ? awaitedMs : quietMs;
}
