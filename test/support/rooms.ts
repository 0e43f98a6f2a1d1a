import { type Guest, type Reach, RoomNameTaken, type Rooms, RoomsError } from '../../src/sessions/ports.ts';
import type { Participant, Room, Session } from '../../src/sessions/record.ts';

/** A LiveKit in memory: rooms, who is in them, and the ways it can fail. */
export class FakeRooms implements Rooms {
  readonly url = 'ws://livekit.test';
  readonly mode = 'create';
  readonly isNowhere = false;
  readonly reach: Reach = { ever: true, downSince: undefined };
  readonly open = new Map<string, Map<string, Participant>>();
  readonly foreign = new Set<string>();
  /** What rooms say of themselves, by name. */
  readonly marks = new Map<string, string>();
  reachable = true;
  /** While set, calls of `create` wait. */
  #gate: Promise<void> | undefined;
  #openGate: (() => void) | undefined;
  #sids = 0;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Lets calls of `create` hang until `letCreate`. */
  holdCreate(): void {
    this.#gate = new Promise((open) => {
      this.#openGate = open;
    });
  }

  letCreate(): void {
    this.#openGate?.();
    this.#gate = undefined;
  }

  join(name: string, identity: string, kind = 'standard'): void {
    const room = this.open.get(name);
    if (!room) throw new Error(`no room ${name}`);
    room.set(identity, { identity, kind, sid: `PA_${++this.#sids}`, joined_at: this.#now() });
  }

  leave(name: string, identity: string): void {
    this.open.get(name)?.delete(identity);
  }

  async create({ name }: Room): Promise<void> {
    this.#call();
    await this.#gate;
    if (this.foreign.has(name)) throw new RoomNameTaken(name);
    if (!this.open.has(name)) this.open.set(name, new Map());
  }

  async remove(name: string): Promise<void> {
    this.#call();
    this.open.delete(name);
  }

  async participants(name: string): Promise<Participant[] | undefined> {
    this.#call();
    const found = this.open.get(name);
    return found && [...found.values()];
  }

  async list(): Promise<{ name: string; metadata: string }[]> {
    this.#call();
    return [...this.open.keys()].map((name) => ({ name, metadata: this.marks.get(name) ?? '' }));
  }

  async managerToken(session: Session): Promise<string> {
    return `manager-token-of-${session.session_id}`;
  }

  async ping(): Promise<boolean> {
    return this.reachable;
  }

  async clientToken(session: Session, { guest }: { guest?: Guest | undefined } = {}): Promise<string> {
    if (guest) return `${guest.speaks ? 'guest' : 'listener'}-token-of-${guest.identity}`;
    return `client-token-of-${session.user_identity}`;
  }

  async serviceToken(_: Session, serviceId: string): Promise<string> {
    return `service-token-of-${serviceId}`;
  }

  #call(): void {
    if (this.reachable) {
      this.reach.downSince = undefined;
      return;
    }
    this.reach.downSince ??= this.#now();
    throw new RoomsError('unreachable', 'LiveKit at livekit.test cannot be reached (ECONNREFUSED)', false);
  }
}
