import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import { StorageError } from '../errors.ts';
import type { Sessions } from '../sessions/commits.ts';
import { type Rooms, RoomsError, type SessionStore, tokenLifeMs } from '../sessions/ports.ts';
import type { Session } from '../sessions/record.ts';
import { markedSession } from './livekit.ts';

const sweepMs = 30_000;
/** After a start: other nodes, and sessions about to be written, get this long to show that a room is theirs. */
const graceMs = 60_000;
const maxEndedNames = 100_000;

interface LeftoversParts {
  rooms: Pick<Rooms, 'list' | 'remove'>;
  sessions: Sessions;
  store: SessionStore;
  clock: Clock;
  log: Logger;
  gatewayName: string;
}

/**
 * Deletes what earlier runs and old tokens left on LiveKit: rooms with our own mark that no live session has, and unmarked ones named like
 * a session that ended here while its tokens still live. Touches nothing else. `close` stops it.
 */
export class Leftovers {
  readonly #parts: LeftoversParts;
  /** Names of rooms whose sessions ended here, and until when a token may bring them back; oldest first. */
  readonly #ended = new Map<string, number>();
  readonly #startedAt: number;
  readonly #stop: () => void;
  #sweeping = false;

  constructor(parts: LeftoversParts) {
    this.#parts = parts;
    this.#startedAt = parts.clock.now();
    parts.sessions.onCommit(({ session }) => this.#remember(session));
    this.#stop = parts.clock.every(sweepMs, () => void this.sweep());
  }

  close(): void {
    this.#stop();
  }

  #remember({ status, room, expires_at }: Session): void {
    if (!room) return;
    if (status !== 'Terminated') {
      // only a name that was chosen comes again
      if (room.chosen) this.#ended.delete(room.name);
      return;
    }
    this.#ended.set(room.name, Math.min(expires_at, this.#parts.clock.now() + tokenLifeMs.client));
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > maxEndedNames && oldest !== undefined) this.#ended.delete(oldest);
  }

  /** Cannot reject. */
  async sweep(): Promise<void> {
    const { rooms, clock, log } = this.#parts;
    const now = clock.now();
    for (const [name, until] of this.#ended) if (now >= until) this.#ended.delete(name);
    if (this.#sweeping || now - this.#startedAt < graceMs) return;
    this.#sweeping = true;
    try {
      for (const { name, metadata } of await rooms.list()) {
        if (!(await this.#isLeftover(name, metadata))) continue;
        // one that resists must not keep the others
        const error = await rooms.remove(name).catch((err: unknown) => err);
        log.info(
          { room: name, ...(error !== undefined && { err: error }) },
          error === undefined ? 'leftover room deleted' : 'could not delete orphaned room, will retry',
        );
      }
    } catch (err) {
      if (err instanceof StorageError) log.debug({ err }, 'leftover sweep failed');
      else if (!(err instanceof RoomsError)) log.error({ err }, 'leftover sweep failed');
    } finally {
      this.#sweeping = false;
    }
  }

  async #isLeftover(name: string, metadata: string): Promise<boolean> {
    const id = markedSession(metadata, this.#parts.gatewayName);
    if (id === undefined) return metadata === '' && this.#ended.has(name);
    const session = await this.#parts.store.loadSession(id);
    // one that is ending deletes its room itself
    return session === undefined || session.status === 'Terminated' || session.room?.name !== name;
  }
}
