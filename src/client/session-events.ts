import type { Events, Notices, Session as Snapshot } from '../../protocol/types.ts';
import type { ConnectionState } from './reconnecting-socket.ts';
import type { LogEvent } from './wire.ts';

/** What the user's LiveKit client needs. */
export interface Join {
  room_name: string;
  /** LiveKit's name of the room; absent from an older gateway. */
  livekit_room?: string;
  livekit_url: string;
  access_token: string;
}

/** The session was resumed after a break. */
export interface Resumed {
  /** true: nothing is lost, every missed event follows. false: some events are lost; continue from `snapshot`. */
  recovered: boolean;
  snapshot: Snapshot;
}

/** What a watch emits, by type. */
export type WatchEvents = { [T in keyof Events]: LogEvent<T> } & {
  /** Every event of the session's log, including types that this version does not know. */
  event: LogEvent;
  /** The session was resumed after a break. */
  resumed: Resumed;
  /** The connection's new state. */
  connection: ConnectionState;
};

/** What a session emits, by type. */
export type SessionEvents = WatchEvents & {
  /** A service reports its progress in the session. */
  ServiceProgress: { type: 'ServiceProgress' } & Notices['ServiceProgress'];
  /** @deprecated since 0.1, removed in 0.2: use `connection` */
  link: ConnectionState;
};
