import type { LogEvent } from '../../protocol/events.ts';
import { answer } from '../../protocol/requests.ts';
import { whyNotCreated } from '../sessions/operations.ts';
import { isEnded, type Session } from '../sessions/record.ts';
import { resumeInvalid } from '../sessions/resume.ts';
import { snapshot } from '../sessions/snapshot.ts';
import type { Connection } from './connection.ts';
import { Cursor, type CursorParts } from './cursor.ts';
import type { Entry } from './feed.ts';
import type { Holders } from './holders.ts';

export interface OwnParts extends CursorParts {
  holders: Holders;
}

/** Follows the session that the socket holds. */
abstract class OwnSession extends Cursor {
  declare protected readonly parts: OwnParts;

  protected needsPersonalizing({ type }: LogEvent): boolean {
    return type === 'SessionReady';
  }

  /** The log holds no token: it is signed when it is delivered. */
  protected async personalize(event: LogEvent, known: Session | undefined): Promise<LogEvent> {
    const session = known ?? (await this.parts.store.loadSession(this.sessionId));
    if (!session?.room || isEnded(session)) return event;
    return { ...event, access_token: await this.parts.rooms.clientToken(session) } as LogEvent;
  }

  protected onEnded(): void {
    this.parts.holders.release(this.connection);
  }
}

/** More events than a session's services can have when it is answered for. */
const maxFirst = 128;

/** Follows a session from its beginning: answers its NewSessionRequest when it leaves Creating. */
export class OpenedSession extends OwnSession {
  /** Of the request, until it is answered. */
  #request: { id: string | undefined; replayed: boolean; resumeToken: string | undefined } | undefined;

  constructor(
    connection: Connection,
    sessionId: string,
    parts: OwnParts,
    request: { id: string | undefined; replayed: boolean; resumeToken: string | undefined },
  ) {
    super(connection, sessionId, parts);
    this.#request = request;
  }

  protected async begin(known: Session | undefined, news: readonly Entry[]): Promise<number | undefined> {
    const { store, operations, holders } = this.parts;
    const session = known ?? (await store.loadSession(this.sessionId));
    if (this.isStopped || !session || !this.#request || session.status === 'Creating') return undefined;
    if (holders.givesWay(session, this.connection)) return undefined;
    const { id, replayed, resumeToken } = this.#request;
    // it never got as far as waiting for anything
    const refusal = session.timings.room_ms === undefined && session.room ? whyNotCreated(session) : undefined;
    if (refusal) {
      this.end();
      this.connection.sendError(refusal, id);
      return undefined;
    }
    // of a session that is over by now SessionEnded, its last event, is still to be sent
    const seq = session.status === 'Terminated' ? session.seq - 1 : await this.#beforeUnasked(session, news);
    const body = await operations.created(session, { replayed, seq, resume_token: resumeToken });
    this.connection.sendAnswer(answer('NewSessionResponse', body), id);
    this.#request = undefined;
    return seq;
  }

  /** What a session waits for in vain is sent as an event, also where it is as old as the answer. @returns the last event before that */
  async #beforeUnasked({ seq, status, requirements }: Session, news: readonly Entry[]): Promise<number> {
    if (status !== 'WaitingForServices' || !requirements.some(({ attempt, error }) => attempt === 0 && error !== undefined)) return seq;
    const isUnasked = (event: LogEvent) => event.type === 'ServiceStatusChanged' && event.attempt === 0;
    const isNew = news.some(({ event }) => isUnasked(event));
    const events = isNew ? news.map(({ event }) => event) : ((await this.parts.store.eventsAfter(this.sessionId, 0, maxFirst)) ?? []);
    const first = events.find(isUnasked);
    return first ? first.seq - 1 : seq;
  }
}

/** Follows a session that the socket has taken over, from the last event that its client has: answers, replays what it missed, says when it has done so. */
export class ResumedSession extends OwnSession {
  readonly #requestId: string | undefined;
  readonly #lastSeq: number;
  /** The replay ends with this event; undefined: it has not started, or has ended. */
  #replayUntil: number | undefined;
  #isOver = false;

  constructor(connection: Connection, sessionId: string, parts: OwnParts, requestId: string | undefined, lastSeq: number) {
    super(connection, sessionId, parts);
    this.#requestId = requestId;
    this.#lastSeq = lastSeq;
  }

  protected async begin(known: Session | undefined): Promise<number | undefined> {
    const { store, operations, holders } = this.parts;
    const session = known ?? (await store.loadSession(this.sessionId));
    if (session && holders.givesWay(session, this.connection)) return undefined;
    const kept = session && this.#lastSeq <= session.seq && (await store.eventsAfter(this.sessionId, this.#lastSeq, 1)) !== undefined;
    if (!session) {
      this.end();
      this.connection.sendError(resumeInvalid(), this.#requestId);
      return undefined;
    }
    this.#replayUntil = session.seq;
    this.#isOver = session.status === 'Terminated';
    const token = kept ? undefined : await operations.joinToken(session);
    const body = {
      session_id: this.sessionId,
      recovered: kept === true,
      snapshot: { ...snapshot(session), shares: session.shares },
      from_seq: (kept ? this.#lastSeq : session.seq) + 1,
      to_seq: session.seq,
      ...(token !== undefined && { access_token: token }),
    };
    this.connection.sendAnswer(answer('ResumeResponse', body), this.#requestId);
    return kept ? this.#lastSeq : session.seq;
  }

  protected override passed(seq: number, bytes: number): void {
    if (this.#replayUntil === undefined) return;
    // its client asked for these
    this.connection.charge(bytes);
    if (seq !== this.#replayUntil) return;
    this.#replayUntil = undefined;
    this.connection.send({ type: 'ResumeComplete', session_id: this.sessionId, seq });
    // nothing follows that would free the socket
    if (this.#isOver) this.end();
  }
}
