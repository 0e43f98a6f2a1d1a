import type { Events, Replies, Requests } from '../../protocol/types.ts';

/** Requests that have an answer. */
export type Asked = keyof Replies;

/** A request's fields; those with a default are optional. */
export type Fields<T extends keyof Requests> = Requests[T];

/** The answer to a request. */
export type Answered<T extends Asked> = Replies[T];

/** One event of a session's log, as sent on the wire. */
export type LogEvent<T extends keyof Events = keyof Events> = {
  [K in T]: {
    type: K;
    /** Its position in the session's log: starts at 1, without gaps. */
    seq: number;
    /** When it happened, ISO-8601, UTC */
    ts: string;
    /** The session */
    session_id: string;
  } & Events[K];
}[T];
