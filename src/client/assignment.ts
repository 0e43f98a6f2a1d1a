import type { Commands } from '../../protocol/types.ts';

/** What the gateway says of the session a service is asked to join. */
export type Offer = Commands['JoinRoomRequest'];

/** The client's socket broke (`away`), or it came back. */
export type Presence = Commands['ClientPresence'];

/** One service's part in one session, as its handler sees it. */
export interface Assignment extends Offer {
  /** Aborted when this service is to leave the session, or has left it; its reason is an Error that says why. */
  readonly signal: AbortSignal;
  /**
   * Tells the session's client how far the service is. Dropped while there is no connection, and where `phase` is empty.
   * @param percent 0 to 100; what is beyond is cut to that, and what is no number left out
   */
  progress(phase: string, percent?: number, message?: string): void;
  /**
   * Leaves the session unasked: as told to, and the gateway hears of it when what the handler returned is done.
   * @param error why it cannot serve it any longer; absent: it has done what it was there for
   */
  leave(error?: unknown): void;
  /** How the client's socket is, as the gateway said last; absent: it has been there since the offer. */
  readonly presence?: Presence | undefined;
  /**
   * Calls `handler` when the client's socket breaks and when it comes back; soon also with what was said last, where that was before. The
   * returned function takes it back.
   */
  on(type: 'presence', handler: (presence: Presence) => void): () => void;
}

/** Leaves what was joined. */
export type Leave = () => unknown;

/** Serves one session: it is ready when this resolves, and failed when it throws. What it returns is called once, when the session is left. */
export type Handler = (join: Assignment) => Leave | void | Promise<Leave | void>;
