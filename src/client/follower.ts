import type { Status } from '../../protocol/states.ts';
import { Emitter } from './emitter.ts';
import { SessionOver } from './errors.ts';
import type { ConnectionState } from './reconnecting-socket.ts';
import type { SessionEnd } from './session-end.ts';
import type { Join, Resumed, SessionEvents } from './session-events.ts';
import type { LogEvent } from './wire.ts';

/** Where following a session starts. */
export interface FollowedSession {
  session_id: string;
  status: Status;
  /** The last event that `status` reflects. */
  seq: number;
  /** Resumes the session on another socket; absent: it cannot be. */
  resume_token?: string | undefined;
}

/** The user can join a session in these. */
export const isJoinable = (status: Status): boolean => status === 'Ready' || status === 'Active';

/** Follows one session's log: takes each event once and in order, and derives the session's state from them. */
export class Follower {
  readonly id: string;
  readonly emitter = new Emitter<SessionEvents>();
  status: Status;
  /** The last event taken. */
  seq: number;
  /** Resolves when the session is over. */
  readonly ended: Promise<SessionEnd>;
  end: SessionEnd | undefined;
  /** Resolves when the user can join. Fails with SessionOver when the session ends, even afterwards. */
  ready: Promise<Join>;

  readonly #resumeToken: string | undefined;
  #join: Join | undefined;
  #settleReady: { resolve(join: Join): void; reject(error: Error): void } | undefined;
  #settleEnded: (end: SessionEnd) => void = () => {};
  /** Emitted once the caller has had a chance to add its handlers. */
  #buffered: (() => void)[] | undefined = [];

  constructor({ session_id, status, seq, resume_token }: FollowedSession) {
    this.id = session_id;
    this.status = status;
    this.seq = seq;
    this.#resumeToken = resume_token;
    this.ended = new Promise((resolve) => {
      this.#settleEnded = resolve;
    });
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = { resolve, reject };
    });
    this.ready.catch(() => {});
    // a timer runs after the promises of those who wait for the answer: they add their handlers first
    setTimeout(() => {
      for (const emit of this.#buffered ?? []) emit();
      this.#buffered = undefined;
    });
  }

  /** 'gap': an event is missing, and this one was not taken. */
  take(event: LogEvent): 'taken' | 'known' | 'gap' {
    if (this.end || event.seq <= this.seq) return 'known';
    if (event.seq !== this.seq + 1) return 'gap';
    this.seq = event.seq;
    if (event.type === 'SessionStatusChanged') this.status = event.to;
    if (event.type === 'SessionReady') this.setJoin(event);
    this.emit(event.type, event as never);
    this.emit('event', event);
    if (event.type === 'SessionEnded') {
      const { reason, by, duration_s, failures } = event;
      this.finish({ reason, by, duration_s, ...(failures && { failures }) });
    }
    return 'taken';
  }

  /** The first request on a new socket; undefined: nothing would resume the session. */
  get resumeRequest(): { type: 'ResumeRequest'; session_id: string; resume_token: string; last_seq: number } | undefined {
    if (this.#resumeToken === undefined) return undefined;
    return { type: 'ResumeRequest', session_id: this.id, resume_token: this.#resumeToken, last_seq: this.seq };
  }

  /**
   * Continues after a break.
   * @param seq where to continue if events are lost: the last one that the snapshot reflects
   * @param access_token lets the user join what the snapshot describes
   */
  resume({ recovered, snapshot }: Resumed, seq: number, access_token?: string): void {
    if (!recovered) {
      this.seq = seq;
      this.status = snapshot.status;
      if (access_token !== undefined) this.setJoin({ ...snapshot, access_token });
    }
    this.emit('resumed', { recovered, snapshot });
    if (!recovered && snapshot.status === 'Terminated') this.finishFrom(snapshot);
  }

  /** Sets what the user joins with; absent fields keep their value. No effect while a field is missing, or when the session is over. */
  setJoin(join: { [K in keyof Join]?: Join[K] | undefined }): void {
    const { room_name, livekit_room, livekit_url, access_token } = { ...this.#join, ...join };
    if (this.end || room_name === undefined || livekit_url === undefined || access_token === undefined) return;
    this.#join = { room_name, ...(livekit_room !== undefined && { livekit_room }), livekit_url, access_token };
    this.#settleReady?.resolve(this.#join);
    this.ready = Promise.resolve(this.#join);
  }

  finish(end: SessionEnd): void {
    this.end = end;
    const over = new SessionOver(end);
    this.#settleReady?.reject(over);
    this.ready = Promise.reject(over);
    this.ready.catch(() => {});
    this.#settleEnded(end);
  }

  /** The session ended while its events did not arrive here. */
  finishFrom({ end_reason, failures }: Resumed['snapshot']): void {
    this.finish({ reason: end_reason ?? 'client_gone', failures });
  }

  connectionIs(state: ConnectionState): void {
    this.emit('connection', state);
    this.emit('link', state);
  }

  emit<K extends keyof SessionEvents>(type: K, value: SessionEvents[K]): void {
    if (this.#buffered) this.#buffered.push(() => this.emitter.emit(type, value));
    else this.emitter.emit(type, value);
  }
}
