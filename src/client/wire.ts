import type { Events, Replies, Requests } from '../../protocol/types.ts';

/** Requests that have an answer. */
export type Asked = keyof Replies;

/** What a request is made with, as it goes out: what has a default may be left out. */
export type Fields<T extends keyof Requests> = Requests[T];

/** The answer to a request, as it comes. */
export type Answered<T extends Asked> = Replies[T];

/** One entry of a session's log, as it stands on the wire. */
export type LogEvent<T extends keyof Events = keyof Events> = {
  [K in T]: {
    type: K;
    /** Its place in the session's log: the first has 1, and there is no gap. */
    seq: number;
    /** When it happened, ISO-8601, UTC */
    ts: string;
    /** The session */
    session_id: string;
  } & Events[K];
}[T];
