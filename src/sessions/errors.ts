import { GatewayError } from '../errors.ts';

/** An identity is that of a service of the session. The caller's name for the field goes in front of the message. */
export const namedLikeService = () =>
  new GatewayError('VALIDATION_FAILED', 'must differ from the services of the session: LiveKit would disconnect one of them');

/** @param isExact LiveKit's room has the name itself, which rests after its session */
export const roomNameInUse = (isExact: boolean) =>
  isExact
    ? new GatewayError('ROOM_NAME_IN_USE', 'Another session has this room name, or had it within the last 30 s', { retryAfterMs: 30_000 })
    : new GatewayError('ROOM_NAME_IN_USE', 'Another live session has this room name');
