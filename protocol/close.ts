/**
 * Why the gateway ended a socket. The range is the instruction: 4400-4449 stop, 4450-4499 reconnect,
 * 4500-4599 back off (0.5 to 20 s, full jitter), then resume, or start anew.
 */
export const Close = {
  /** JSON did not parse, or the type is unknown. Sending it again will not help. */
  BadMessage: { code: 4400, reason: 'bad message' },
  /** Its credential is wrong, or no longer good. The same one would be refused again. */
  Unauthenticated: { code: 4401, reason: 'unauthenticated' },
  /** A newer socket has this one's place: it holds the session, or speaks for the service, that this one did. */
  TakenOver: { code: 4409, reason: 'taken over' },
  /** Twenty frames in a row were refused: this peer does not speak the protocol. */
  TooManyRefused: { code: 4413, reason: 'too many refused frames' },
  /** One message came in more fragments than allowed. The same code as for too many refused frames, and with it the same instruction: stop. */
  TooManyFragments: { code: 4413, reason: 'too many fragments' },
  /** More than the allowed bytes waited for this peer, and it read none of them for the allowed time. */
  TooSlow: { code: 4451, reason: 'too slow' },
  /** The process is shutting down; a GoAway came before. */
  Draining: { code: 4452, reason: 'draining' },
  /** Its credential has expired. With a new one it may come back. */
  CredentialExpired: { code: 4460, reason: 'credential expired' },
  /** A fault in the gateway while it served this socket. */
  Internal: { code: 4500, reason: 'internal error' },
  /** The gateway holds as many sockets as it may. */
  Overloaded: { code: 4503, reason: 'overloaded' },
  /** Whether its credential is good cannot be found out now. */
  AuthUnavailable: { code: 4504, reason: 'authentication unavailable' },
  /** No frame was accepted in time: within the first minutes of the socket, or seconds where it must say first who it is. */
  HandshakeTimeout: { code: 4508, reason: 'handshake timeout' },
  /** Frames came faster than the limit; an Error with retry_after_ms came before. */
  RateLimited: { code: 4529, reason: 'rate limited' },
} as const;

export type CloseReason = (typeof Close)[keyof typeof Close];

/** The codes with which the gateway hangs up on a peer for what it sent. */
const faults = new Set<number>([1002, 1003, 1007, 1009, Close.BadMessage.code, Close.TooManyRefused.code, Close.RateLimited.code]);
/** Whether a code of the gateway's own says that the peer broke the protocol. */
export const isPeersFault = (code: number): boolean => faults.has(code);

/** Sent by proxies and load balancers, never by the gateway: their policy, a failure of theirs, overload, an upstream that failed. All of them pass. */
const elsewhere: readonly number[] = [1008, 1011, 1013, 1014];

/** What a client does after its socket ended with this code, the gateway's own and the standard's. */
export function verdict(code: number): 'stop' | 'reconnect' | 'back off' {
  if ((code >= 4500 && code <= 4599) || elsewhere.includes(code)) return 'back off';
  if (code >= 4450 && code <= 4499) return 'reconnect';
  return code === 1001 || code === 1006 || code === 1012 ? 'reconnect' : 'stop';
}
