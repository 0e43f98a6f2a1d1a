import type { LogEvent } from '../../protocol/events.ts';
import { answer } from '../../protocol/requests.ts';
import { GatewayError, StorageError, storageFailed } from '../errors.ts';
import { authorize } from '../sessions/access.ts';
import type { Session } from '../sessions/record.ts';
import type { Connection } from './connection.ts';
import { Cursor, type CursorParts } from './cursor.ts';

/** Follows a session that somebody else holds, from its record as read, as long as it may be read. */
export class WatchedSession extends Cursor {
  readonly #requestId: string | undefined;

  constructor(connection: Connection, sessionId: string, parts: CursorParts, requestId: string | undefined) {
    super(connection, sessionId, parts);
    this.#requestId = requestId;
  }

  protected async begin(): Promise<number | undefined> {
    const { connection, sessionId, parts } = this;
    try {
      const session = await parts.operations.get(sessionId, parts.callerAt(connection));
      connection.sendAnswer(answer('WatchResponse', { session_id: sessionId, seq: session.seq, session }), this.#requestId);
      if (session.status !== 'Terminated') return session.seq;
    } catch (error) {
      if (!(error instanceof GatewayError || error instanceof StorageError)) throw error;
      connection.sendError(error instanceof GatewayError ? error : storageFailed(error), this.#requestId);
    }
    // nothing will ever be sent of it here
    this.end();
    return undefined;
  }

  /** Who may read it may have changed. */
  protected needsPersonalizing({ type }: LogEvent): boolean {
    return type === 'SessionUpdated';
  }

  protected async personalize(event: LogEvent, known: Session | undefined): Promise<LogEvent | undefined> {
    const caller = this.parts.callerAt(this.connection);
    try {
      if (known) authorize(known, caller, 'read');
      else await this.parts.operations.find(this.sessionId, caller);
      return event;
    } catch (error) {
      if (error instanceof GatewayError) return undefined;
      throw error;
    }
  }

  protected onEnded(): void {
    this.connection.unwatch(this.sessionId);
  }
}
