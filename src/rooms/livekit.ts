import { type ParticipantInfo, ParticipantInfo_State } from 'livekit-server-sdk';
import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import { type Reach, RoomNameTaken, type Rooms, RoomsError } from '../sessions/ports.ts';
import type { Participant, Room, Session } from '../sessions/record.ts';
import { RoomApi, roomsError, type SettingNames } from './api.ts';
import { Health } from './health.ts';
import { joinToken, type Key, managerToken, type Sign, signer } from './tokens.ts';

/** Shorter than the 10 s a session has for its room, so that a call that hangs still says so in time. */
const requestTimeoutS = 8;
const restMs = 1_000;
const maxParticipants = 50;

export interface LiveKitConfig extends Key {
  /** ws, wss, http or https. */
  serverUrl: string;
  /** Where clients reach it; absent: the server's own address. */
  publicUrl?: string | undefined;
  /** on_join: LiveKit creates a room when the first participant joins; none is created by a call. */
  mode: 'create' | 'on_join';
  /** Marks the rooms of this deployment. */
  gatewayName: string;
  /** Whether a server is to be there; default: yes. Else it may come later, or never. */
  expected?: boolean | undefined;
  names: SettingNames;
}

/** The address that clients join at: the same server, over WebSocket. */
export const socketUrl = (url: string) => url.replace(/^http/, 'ws').replace(/\/$/, '');

/** Room metadata that says whose room it is. */
export const mark = (gateway: string, session_id: string) => JSON.stringify({ sg: { gateway, session_id } });

/** The session a room's metadata names, if this deployment made the room. */
export function markedSession(metadata: string, gateway: string): string | undefined {
  try {
    const { sg } = JSON.parse(metadata) as { sg?: { gateway?: unknown; session_id?: unknown } };
    return sg?.gateway === gateway && typeof sg.session_id === 'string' ? sg.session_id : undefined;
  } catch {
    return undefined;
  }
}

/** Rooms on a LiveKit server. Holds no connection itself: nothing to close. */
export class LiveKitRooms implements Rooms {
  readonly url: string;
  readonly mode: 'create' | 'on_join';
  readonly #config: LiveKitConfig;
  readonly #client: RoomApi;
  readonly #health: Health;
  readonly #sign: Sign;
  /** While LiveKit is out of reach: when it is asked again. */
  #askAt = 0;
  readonly #clock: Clock;

  constructor(config: LiveKitConfig, clock: Clock, log: Logger) {
    this.#config = config;
    this.#sign = signer(config);
    this.#clock = clock;
    this.mode = config.mode;
    this.url = socketUrl(config.publicUrl ?? config.serverUrl);
    this.#client = new RoomApi(config.serverUrl, config, requestTimeoutS);
    this.#health = new Health({ url: config.serverUrl.replace(/^ws/, 'http'), clock, log, expected: config.expected ?? true });
  }

  get reach(): Reach {
    return this.#health.reach;
  }

  async create(room: Room, sessionId: string): Promise<void> {
    if (this.#config.mode === 'on_join') return;
    const { name } = room;
    // CreateRoom on an existing name would take over somebody else's room without a word
    if (room.chosen && room.label === undefined) {
      const [existing] = await this.#call(() => this.#client.listRooms([name]));
      if (existing && markedSession(existing.metadata, this.#config.gatewayName) !== sessionId) throw new RoomNameTaken(name);
    }
    await this.#call(() =>
      this.#client.createRoom({
        name,
        emptyTimeout: room.empty_timeout,
        departureTimeout: room.departure_timeout,
        maxParticipants,
        metadata: mark(this.#config.gatewayName, sessionId),
      }),
    );
  }

  async remove(name: string): Promise<void> {
    if (this.isNowhere) return;
    try {
      await this.#repeated(() => this.#client.deleteRoom(name));
    } catch (error) {
      if (isNotFound(error) || this.#wasNeverReached) return;
      throw error;
    }
  }

  async participants(name: string): Promise<Participant[] | undefined> {
    try {
      const found = await this.#repeated(() => this.#client.listParticipants(name));
      // a hidden one, such as a manager, is nobody to the others in the room
      const present = found.filter(
        (p) => (p.state === ParticipantInfo_State.JOINED || p.state === ParticipantInfo_State.ACTIVE) && !p.permission?.hidden,
      );
      if (present.length > 0) return present.map(participant);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
    // nobody in it: an empty room and a missing one look the same above
    const rooms = await this.#repeated(() => this.#client.listRooms([name]));
    return rooms.length > 0 ? [] : undefined;
  }

  async ping(): Promise<boolean> {
    return this.#call(() => this.#client.listRooms(['-'])).then(
      () => true,
      () => false,
    );
  }

  async clientToken(session: Session, { lifeMs, guest }: Parameters<Rooms['clientToken']>[1] = {}): Promise<string> {
    const { user_identity, session_id, user_name: name, user_metadata: metadata, user_attributes: attributes } = session;
    const bearer = guest ?? { identity: user_identity ?? session_id, name, metadata, attributes };
    return joinToken(this.#sign, session, bearer, this.#clock.now(), lifeMs);
  }

  async serviceToken(session: Session, identity: string): Promise<string> {
    return joinToken(this.#sign, session, { identity, kind: 'agent' }, this.#clock.now());
  }

  async managerToken(session: Session): Promise<string> {
    return managerToken(this.#sign, session);
  }

  async list(): Promise<{ name: string; metadata: string }[]> {
    return this.#call(() => this.#client.listRooms());
  }

  get isNowhere(): boolean {
    return this.#rests && this.#wasNeverReached;
  }

  /** Where nothing was ever created and no server ever answered, there is nothing to delete. */
  get #wasNeverReached(): boolean {
    return this.#config.mode === 'on_join' && !this.reach.ever;
  }

  /** LiveKit is known to be out of reach, and was asked not long ago. */
  get #rests(): boolean {
    return this.reach.downSince !== undefined && this.#clock.now() < this.#askAt;
  }

  /** As `#call`, of what will be asked again anyway: while LiveKit is out of reach one of all these calls a second goes out, and the others fail at once. */
  #repeated<T>(call: () => Promise<T>): Promise<T> {
    if (this.#rests) return Promise.reject(new RoomsError('unreachable', 'LiveKit was unreachable a moment ago', false));
    this.#askAt = this.#clock.now() + restMs;
    return this.#call(call);
  }

  async #call<T>(call: () => Promise<T>): Promise<T> {
    try {
      const result = await call();
      this.#health.answered();
      return result;
    } catch (error) {
      const failure = roomsError(error, this.#config.serverUrl, this.#config.names);
      this.#health.failed(failure);
      throw failure;
    }
  }
}

const isNotFound = (error: unknown) => error instanceof RoomsError && error.kind === 'not_found';

/** ParticipantInfo.Kind of LiveKit's protocol, which the SDK does not export. */
const kinds = ['standard', 'ingress', 'egress', 'sip', 'agent'];

const participant = (info: ParticipantInfo): Participant => ({
  identity: info.identity,
  sid: info.sid,
  kind: kinds[info.kind] ?? 'standard',
  joined_at: Number(info.joinedAt) * 1_000,
});
