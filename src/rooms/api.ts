import { AccessToken, RoomServiceClient, ServerError, type VideoGrant } from 'livekit-server-sdk';
import { clip } from '../../protocol/fields.ts';
import { safeText } from '../secrets.ts';
import { RoomsError } from '../sessions/ports.ts';
import { Redirected, RoomRpc } from './rpc.ts';
import type { Key } from './tokens.ts';

/** A token of the API administers every room: it lives for its one call, and for clocks that differ by minutes. */
const tokenTtlS = 600;

/** LiveKit's room API, called with tokens that are of no use afterwards. */
export class RoomApi extends RoomServiceClient {
  readonly #key: Key;

  constructor(url: string, key: Key, requestTimeoutS: number) {
    super(url, key.apiKey, key.apiSecret);
    this.#key = key;
    // its own one follows redirects, and tries other regions for longer than a call may take
    Object.defineProperty(this, 'rpc', { value: new RoomRpc(url, requestTimeoutS * 1_000) });
  }

  override async authHeader(grant: VideoGrant): Promise<Record<string, string>> {
    const token = new AccessToken(this.#key.apiKey, this.#key.apiSecret, { ttl: tokenTtlS });
    token.addGrant(grant);
    return { Authorization: `Bearer ${await token.toJwt()}` };
  }
}

/** What address, key and secret are called by whoever set them. */
export interface SettingNames {
  serverUrl: string;
  apiKey: string;
  apiSecret: string;
}

/** What went wrong with a call, for the operator. */
export function roomsError(error: unknown, url: string, names: SettingNames): RoomsError {
  if (error instanceof ServerError) {
    const { status } = error;
    // it repeats a token that it refuses
    const said = safeText(error.message);
    const message = clip(`LiveKit answered ${status}: ${said}`, 300);
    if (status === 401 || status === 403) return new RoomsError('unauthorized', whyUnauthorized(said, names), false);
    if (status === 404) return new RoomsError('not_found', message, false);
    if (status >= 500) return new RoomsError('unreachable', message, true);
    return new RoomsError(status === 408 || status === 429 ? 'busy' : 'refused', message, false);
  }
  if (error instanceof Redirected) {
    const message = `LiveKit at ${new URL(url).host} answered ${error.status} with another address (${safeText(error.target)}), which is not asked: check ${names.serverUrl}`;
    return new RoomsError('unreachable', clip(message, 600), false);
  }
  const under = (error as { cause?: { code?: string; message?: string } }).cause;
  const cause = under?.code ?? under?.message ?? (error instanceof Error ? error.name : 'unknown');
  // the connection was never made, so the call had no effect
  const unknownOutcome = !/ECONNREFUSED|ENOTFOUND/.test(cause);
  return new RoomsError(
    'unreachable',
    `LiveKit at ${new URL(url).host} cannot be reached (${cause}): check ${names.serverUrl}`,
    unknownOutcome,
  );
}

function whyUnauthorized(said: string, { apiKey, apiSecret }: SettingNames): string {
  if (/not valid yet|issued in the future/.test(said)) return "LiveKit refused the gateway's token as not valid yet: the clocks differ";
  if (/expired/.test(said)) return "LiveKit refused the gateway's token as expired: the clocks differ";
  if (/invalid API key/i.test(said)) return `LiveKit does not know this key: check ${apiKey}`;
  if (/cryptographic|signature/.test(said)) return `the secret is not the one of this key: check ${apiSecret}`;
  return `LiveKit refused the key and secret: check ${apiKey} and ${apiSecret}`;
}
