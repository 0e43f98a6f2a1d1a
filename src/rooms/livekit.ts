import { type ParticipantInfo, ParticipantInfo_State, RoomServiceClient, ServerError } from 'livekit-server-sdk';
import { clip } from '../../protocol/fields.ts';
import { type Clock, type Reach, RoomNameTaken, type Rooms, RoomsError } from '../sessions/ports.ts';
import type { Participant, Room, Session } from '../sessions/record.ts';
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
  /** on_join: rooms come into being when the first participant joins; none is created by a call. */
  mode: 'create' | 'on_join';
  /** Marks the rooms of this deployment. */
  gatewayName: string;
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

/** Rooms on a LiveKit server. Holds no connection of its own: nothing to close. */
export class LiveKitRooms implements Rooms {
  readonly url: string;
  readonly mode: 'create' | 'on_join';
  readonly reach: Reach = { ever: false, downSince: undefined };
  readonly #config: LiveKitConfig;
  readonly #client: RoomServiceClient;
  readonly #sign: Sign;
  /** While LiveKit is out of reach: when it is asked again. */
  #askAt = 0;
  readonly #clock: Clock;

  constructor(config: LiveKitConfig, clock: Clock) {
    this.#config = config;
    this.#sign = signer(config);
    this.#clock = clock;
    this.mode = config.mode;
    this.url = socketUrl(config.publicUrl ?? config.serverUrl);
    // failover would spend more than the call's own deadline on other regions
    this.#client = new RoomServiceClient(config.serverUrl, config.apiKey, config.apiSecret, {
      requestTimeout: requestTimeoutS,
      failover: false,
    });
  }

  async create(room: Room, sessionId: string): Promise<void> {
    if (this.#config.mode === 'on_join') return;
    // CreateRoom on an existing name would take over somebody else's room without a word
    if (room.chosen) {
      const [existing] = await this.#call(() => this.#client.listRooms([room.name]));
      if (existing && markedSession(existing.metadata, this.#config.gatewayName) !== sessionId) throw new RoomNameTaken(room.name);
    }
    await this.#call(() =>
      this.#client.createRoom({
        name: room.name,
        emptyTimeout: room.empty_timeout,
        departureTimeout: room.departure_timeout,
        maxParticipants,
        metadata: mark(this.#config.gatewayName, sessionId),
      }),
    );
  }

  async remove(room: Pick<Room, 'name'>): Promise<void> {
    if (this.isNowhere) return;
    try {
      await this.#repeated(() => this.#client.deleteRoom(room.name));
    } catch (error) {
      if (isNotFound(error) || this.#wasNeverReached) return;
      throw error;
    }
  }

  async participants(room: Room): Promise<Participant[] | undefined> {
    try {
      const found = await this.#repeated(() => this.#client.listParticipants(room.name));
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
    const rooms = await this.#repeated(() => this.#client.listRooms([room.name]));
    return rooms.length > 0 ? [] : undefined;
  }

  async ping(): Promise<boolean> {
    return this.#call(() => this.#client.listRooms(['-'])).then(
      () => true,
      () => false,
    );
  }

  async clientToken(session: Session): Promise<string> {
    const { user_identity, session_id, user_name: name, user_metadata: metadata, user_attributes: attributes } = session;
    return joinToken(this.#sign, session, { identity: user_identity ?? session_id, name, metadata, attributes }, this.#clock.now());
  }

  async serviceToken(session: Session, serviceId: string): Promise<string> {
    return joinToken(this.#sign, session, { identity: serviceId, kind: 'agent' }, this.#clock.now());
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
    if (this.#rests) return Promise.reject(new RoomsError(`LiveKit at ${new URL(this.#config.serverUrl).host} is out of reach`, false));
    this.#askAt = this.#clock.now() + restMs;
    return this.#call(call);
  }

  async #call<T>(call: () => Promise<T>): Promise<T> {
    try {
      const result = await call();
      this.reach.ever = true;
      this.reach.downSince = undefined;
      return result;
    } catch (error) {
      const answered = error instanceof ServerError && error.status < 500;
      if (answered) {
        this.reach.ever = true;
        this.reach.downSince = undefined;
      } else this.reach.downSince ??= this.#clock.now();
      throw new RoomsError(describe(error, this.#config.serverUrl), !answered && !isRefused(error), error);
    }
  }
}

const isNotFound = (error: unknown) => error instanceof RoomsError && error.cause instanceof ServerError && error.cause.status === 404;
/** The connection was never made, so the call had no effect. */
const isRefused = (error: unknown) =>
  error instanceof TypeError && /ECONNREFUSED|ENOTFOUND/.test(String((error.cause as { code?: string })?.code));

function describe(error: unknown, url: string): string {
  if (error instanceof ServerError) {
    const hint = error.status === 401 || error.status === 403 ? ' (check LIVEKIT_API_KEY and LIVEKIT_API_SECRET)' : '';
    return clip(`LiveKit answered ${error.status}${hint}: ${error.message}`, 300);
  }
  const cause = error instanceof Error ? ((error.cause as { code?: string } | undefined)?.code ?? error.name) : 'unknown';
  return `LiveKit at ${new URL(url).host} cannot be reached (${cause}): check that it runs, and LIVEKIT_SERVER_URL`;
}

/** ParticipantInfo.Kind of LiveKit's protocol, which the SDK does not export. */
const kinds = ['standard', 'ingress', 'egress', 'sip', 'agent'];

const participant = (info: ParticipantInfo): Participant => ({
  identity: info.identity,
  sid: info.sid,
  kind: kinds[info.kind] ?? 'standard',
  joined_at: Number(info.joinedAt) * 1_000,
});
