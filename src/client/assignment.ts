import type { Commands } from '../../protocol/types.ts';

/** The session that a service is asked to join. */
export type Offer = Commands['JoinRoomRequest'];

/** The client's socket broke (`away`), or the client is back (`connected`). */
export type Presence = Commands['ClientPresence'];

/** One session that a service serves, as its handler sees it. */
export interface Assignment extends Offer {
  /** Aborted when the service must leave the session, or has left it; the reason is an Error that says why. */
  readonly signal: AbortSignal;
  /**
   * Reports progress to the session's client. Dropped while there is no connection, and if `phase` is empty.
   * @param percent 0 to 100: clamped, and left out if not a finite number
   */
  progress(phase: string, percent?: number, message?: string): void;
  /**
   * Leaves the session: runs the function that the handler returned, then reports it to the gateway.
   * @param error why it cannot go on serving; absent: its work is done
   */
  leave(error?: unknown): void;
  /** The last presence that the gateway reported; absent: the client has been connected since the offer. */
  readonly presence?: Presence | undefined;
  /**
   * Calls `handler` when the client's socket breaks and when the client is back, and once with the last presence if there was one before.
   * Returns an unsubscribe function.
   */
  on(type: 'presence', handler: (presence: Presence) => void): () => void;
}

/** Leaves the session: called once. */
export type Leave = () => unknown;

/** Serves one session. The service is ready when this resolves, and failed if it throws; the returned function runs on leaving. */
export type Handler = (join: Assignment) => Leave | void | Promise<Leave | void>;
