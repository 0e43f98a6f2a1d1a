import { createHash } from 'node:crypto';
import { v7 as uuid } from 'uuid';
import { callerOf } from '../auth/caller.ts';
import { GatewayError } from '../errors.ts';
import { type Caller, standing } from '../sessions/access.ts';
import type { Sessions } from '../sessions/commits.ts';
import { namedLikeService, roomNameInUse } from '../sessions/errors.ts';
import { type NewSession, type Opened, type Openings, sessionInRoom } from '../sessions/open.ts';
import { type Operations, roomIsThere } from '../sessions/operations.ts';
import type { SessionStore } from '../sessions/ports.ts';
import { labelOf, type Session } from '../sessions/record.ts';
import type { Call, Endpoints } from './app.ts';

/**
 * LiveKit's client SDKs keep a token until a minute before its end: for 20 s. No session that its user has joined and left is over
 * sooner, so what they keep still opens it. Whoever is in the room is given newer tokens by LiveKit.
 */
const tokenLifeMs = 80_000;
/** An app that fetches a token before anybody wants to talk does not hold its services for longer. */
const clientJoinTimeoutS = 60;

/** A fault of the user's name, as this endpoint calls it. */
const ofIdentity = ({ code, message }: GatewayError) => new GatewayError(code, `participant_identity: ${message}`);

interface TokenSourceParts {
  openings: Openings;
  operations: Operations;
  sessions: Sessions;
  store: SessionStore;
  /** Waits until a session is so far. */
  settle(opening: Promise<Opened>, far: (session: Session) => boolean, gone: AbortSignal, isKeyed: boolean): Promise<Opened>;
}

/** LiveKit's TokenSource: one call of its client SDKs opens a session, or finds the live one, and returns the token for its room. */
export function tokenSource({ openings, operations, sessions, store, settle }: TokenSourceParts): Endpoints['tokenSource'] {
  /** The live session of that name, if the caller may join it. @throws GatewayError ROOM_NAME_IN_USE it is somebody else's */
  const join = async (held: Session, caller: Caller, user_identity: string, gone: AbortSignal): Promise<Session> => {
    if (standing(held, caller) === 'stranger') throw roomNameInUse(false);
    const { session } = await settle(Promise.resolve({ session: held, replayed: true }), roomIsThere, gone, true);
    if (session.user_identity === user_identity) await sessions.apply(session.session_id, { type: 'UserAsked' });
    return session;
  };

  const open = async (body: Call<'tokenSource'>['body'], caller: Caller, user_identity: string, gone: AbortSignal): Promise<Session> => {
    const places = new Map<string, Record<string, string>>();
    const agents = body.room_config?.agents?.flatMap(({ agent_name, agentName, metadata, deployment }) => {
      const id = agent_name ?? agentName;
      if (id === undefined) return [];
      const passedOn = { ...(metadata !== undefined && { agent_metadata: metadata }), ...(deployment !== undefined && { deployment }) };
      if (metadata !== undefined || deployment !== undefined) places.set(id, passedOn);
      return [id];
    });
    if (agents?.includes(user_identity)) throw ofIdentity(namedLikeService());
    // a user without a name is another one at each call
    const isKeyed = body.participant_identity !== undefined;
    const wish: NewSession = {
      user_identity,
      user_name: body.participant_name,
      room: true,
      room_name: body.room_name,
      metadata: {},
      visibility: 'private',
      optional_services: [],
      on_join_timeout: 'fail',
      on_service_loss: 'replace',
      resume_window_s: 0,
      client_join_timeout_s: clientJoinTimeoutS,
      ...(isKeyed && { idempotency_key: `livekit ${createHash('sha256').update(JSON.stringify(body)).digest('base64url')}` }),
      ...(agents && agents.length > 0 && { required_services: agents }),
    };
    const user = { metadata: body.participant_metadata, attributes: body.participant_attributes };
    const opening = openings.open(wish, { caller, token_policy: 'immediate', user, places, until_joined: true });
    const { session, replayed } = await settle(opening, roomIsThere, gone, isKeyed);
    if (replayed) await sessions.apply(session.session_id, { type: 'UserAsked' });
    return session;
  };

  return async ({ principal, body, gone }) => {
    const { room_name, participant_name: name, participant_metadata: metadata, participant_attributes: attributes } = body;
    const identity = body.participant_identity ?? principal.user ?? `user-${uuid()}`;
    const caller = callerOf(principal, { user: identity });
    const held = () => (room_name === undefined ? undefined : sessionInRoom(store, room_name));
    const there = await held();
    const session = there
      ? await join(there, caller, identity, gone)
      : await open(body, caller, identity, gone).catch(async (error) => {
          // somebody was faster
          const other = error instanceof GatewayError && error.code === 'ROOM_NAME_IN_USE' ? await held() : undefined;
          if (!other) throw error;
          return join(other, caller, identity, gone);
        });
    const token = operations.roomToken(session, caller, { identity, name, metadata, attributes }, tokenLifeMs).catch((error) => {
      throw error instanceof GatewayError && error.code === 'VALIDATION_FAILED' ? ofIdentity(error) : error;
    });
    return {
      server_url: session.room?.livekit_url ?? '',
      participant_token: await token,
      room_name: session.room ? labelOf(session.room) : '',
      livekit_room: session.room?.name,
      ...(name !== undefined && { participant_name: name }),
    };
  };
}
