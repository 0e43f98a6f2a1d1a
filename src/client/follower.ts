import type { Failure } from '../../protocol/failures.ts';
import type { EndReason, Status } from '../../protocol/states.ts';
import type { Events, Notices, Session as Snapshot } from '../../protocol/types.ts';
import { Emitter } from './emitter.ts';
import { SessionOver } from './errors.ts';
import type { LinkState } from './link.ts';
import type { Answered, LogEvent } from './wire.ts';

/** How a session ended, as far as its client knows. */
export interface SessionEnd {
  /**
   * The gateway's reason; or `resume_invalid`: the gateway does not know this client's session any more, `taken_over`: another client
   * holds it now, `connection_closed`: the connection ended for good, see `code`.
   */
  reason: EndReason | 'resume_invalid' | 'taken_over' | 'connection_closed';
  /** Who ended it; absent: not known. */
  by?: 'client' | 'gateway';
  /** Seconds since it was asked for; absent: not known. */
  duration_s?: number;
  /** Required services that did not serve then, and why; absent: all did, or not known. */
  failures?: Failure[] | undefined;
  /** The close code, where the connection ended. */
  code?: number;
}

/** What the user's LiveKit client needs. */
export interface Join {
  room_name: string;
  /** What LiveKit calls the room; absent where an older gateway does not say. */
  livekit_room?: string;
  livekit_url: string;
  access_token: string;
}

/** The connection broke, and the session is held again. */
export interface Resumed {
  /** Every event in between follows. false: some are lost, and the session is now what `snapshot` says. */
  recovered: boolean;
  snapshot: Snapshot;
}

/** What a session tells, by type. */
export type SessionEvents = { [T in keyof Events]: LogEvent<T> } & {
  /** Every event of the session's log, also of a type that this version does not know. */
  event: LogEvent;
  /** How far a service of the session has come. */
  ServiceProgress: { type: 'ServiceProgress' } & Notices['ServiceProgress'];
  /** The connection broke, and the session is held again. */
  resumed: Resumed;
  /** How the connection is now. */
  link: LinkState;
};

/** Follows one session's log: takes each event once, in order, and knows what they made of the session. */
export class Follower {
  readonly id: string;
  readonly emitter = new Emitter<SessionEvents>();
  status: Status;
  /** The last event taken. */
  seq: number;
  /** Resolves when the session is over. */
  readonly ended: Promise<SessionEnd>;
  end: SessionEnd | undefined;
  /** Resolves when the user can join. Fails with SessionOver when the session ends, also after that. */
  ready: Promise<Join>;

  readonly #resumeToken: string | undefined;
  #join: Join | undefined;
  #settleReady: { resolve(join: Join): void; reject(error: Error): void } | undefined;
  #settleEnded: (end: SessionEnd) => void = () => {};
  /** What was told before its handlers could be there. */
  #held: (() => void)[] | undefined = [];

  constructor(answer: Answered<'NewSessionRequest'>) {
    this.id = answer.session_id;
    this.status = answer.status;
    this.seq = answer.seq;
    this.#resumeToken = answer.resume_token;
    this.ended = new Promise((resolve) => {
      this.#settleEnded = resolve;
    });
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = { resolve, reject };
    });
    this.ready.catch(() => {});
    // a token that came early lets nobody in yet
    if (this.status === 'Ready' || this.status === 'Active') this.setJoin(answer);
    // those who wait for the answer add their handlers before that
    setTimeout(() => {
      for (const tell of this.#held ?? []) tell();
      this.#held = undefined;
    });
  }

  /** 'gap': an event is missing, and this one was not taken. */
  take(event: LogEvent): 'taken' | 'known' | 'gap' {
    if (event.seq <= this.seq) return 'known';
    if (event.seq !== this.seq + 1) return 'gap';
    this.seq = event.seq;
    if (event.type === 'SessionStatusChanged') this.status = event.to;
    if (event.type === 'SessionReady') this.setJoin(event);
    this.tell(event.type, event as never);
    this.tell('event', event);
    if (event.type === 'SessionEnded') {
      const { reason, by, duration_s, failures } = event;
      this.finish({ reason, by, duration_s, ...(failures && { failures }) });
    }
    return 'taken';
  }

  /** What is sent first on a new socket; undefined: nothing would bring the session back. */
  get resumeRequest(): { type: 'ResumeRequest'; session_id: string; resume_token: string; last_seq: number } | undefined {
    if (this.#resumeToken === undefined) return undefined;
    return { type: 'ResumeRequest', session_id: this.id, resume_token: this.#resumeToken, last_seq: this.seq };
  }

  /** The gateway gave the session to this socket. */
  resume({ recovered, snapshot, to_seq, access_token }: Answered<'ResumeRequest'>): void {
    if (!recovered) {
      this.seq = to_seq;
      this.status = snapshot.status;
      if (access_token !== undefined) this.setJoin({ ...snapshot, access_token });
    }
    this.tell('resumed', { recovered, snapshot });
    if (!recovered && snapshot.status === 'Terminated')
      this.finish({ reason: snapshot.end_reason ?? 'client_gone', failures: snapshot.failures });
  }

  /** The user can join with this; what is missing in it stays as it was. Nothing happens where that is not all, or the session over. */
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

  tell<K extends keyof SessionEvents>(type: K, value: SessionEvents[K]): void {
    if (this.#held) this.#held.push(() => this.emitter.emit(type, value));
    else this.emitter.emit(type, value);
  }
}
