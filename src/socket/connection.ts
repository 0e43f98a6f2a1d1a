import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { v7 as uuid } from 'uuid';
import { type RawData, WebSocket } from 'ws';
import { Close, type CloseReason, isPeersFault } from '../../protocol/close.ts';
import type { Parsed } from '../../protocol/parse.ts';
import { type Answer, type Request, type RequestRow, requests } from '../../protocol/requests.ts';
import type { Role } from '../../protocol/roles.ts';
import { audit } from '../auth/audit.ts';
import { mayCall } from '../auth/caller.ts';
import { isSame, type Principal } from '../auth/principal.ts';
import type { Clock } from '../clock.ts';
import { GatewayError, StorageError, storageFailed } from '../errors.ts';
import type { Instance } from '../services/registry.ts';
import type { ServicePeer } from '../services/socket-link.ts';
import { mayNotAsk } from '../sessions/access.ts';
import { iso } from '../time.ts';
import type { Turn } from '../turn.ts';
import { dispatch, type Handlers, later, type Outcome } from './dispatch.ts';
import { answerText, textFrame } from './frames.ts';
import { IgnoredFields } from './ignored.ts';
import { Inbox } from './inbox.ts';
import type { MeterLimits } from './metered.ts';
import type { Held } from './outbox.ts';
import type { Tarpit } from './tarpit.ts';
import type { Breach } from './ws-internals.ts';

const maxWatches = 32;
/** How long a socket may take to say who it is, where it must, and how much it may send until then. */
export const identifyMs = 10_000;
const identifyBytes = 16_384;
/** Enough to get a new credential from somebody else. */
const expiringMs = 60_000;

export interface SocketLimits extends MeterLimits {
  firstFrameMs: number;
  maxRefusedInARow: number;
  clientPingMs: number;
  servicePingMs: number;
  pongTimeoutMs: number;
}

/** What a peer says of itself besides who it is. */
export interface IdentifyWish {
  heartbeatMs?: number | undefined;
  attributes?: Readonly<Record<string, string>> | undefined;
}

/** As what somebody takes part on a socket; undefined: as it will turn out. */
const roleOf = ({ kind }: Principal): Role | undefined => (kind === 'anybody' ? undefined : kind === 'service' ? 'service' : 'client');

/** Refused frames that count towards `maxRefusedInARow`: what cannot go better the next time. */
const strikes = new Set<string>(['VALIDATION_FAILED', 'FORBIDDEN', 'UNAUTHENTICATED', 'SERVICE_ID_EXISTS']);

/** What sends a socket the events of one session. */
export interface LogCursor {
  /** Called once. */
  start(): unknown;
  /** There may be something to send, or room for it. */
  wake(): void;
  stop(): void;
}

/** What all connections of a node share. */
export interface ConnectionParts {
  handlers: Handlers<Connection>;
  turn: Turn;
  tarpit: Tarpit;
  limits: SocketLimits;
  clock: Clock;
  log: Logger;
  /** How long this node has been looking after its sockets, by the looks it took: time in which it stood still is not in it. */
  watchedMs(): number;
  /** Called once for each, when its socket has ended. `code`: what it was closed with first, from whichever side; 1006: with nothing. */
  onEnd(connection: Connection, code: number): void;
}

/** A websocket that knows its connection: one set of listeners serves all of them, not four closures each. */
export class ConnectedSocket extends WebSocket {
  connection: Connection | undefined;
  /** What its close frame from this side says; ws keeps only what the peer answers. */
  closedWith: number | undefined;

  /** Leaves nothing unsaid that was queued during this turn, also where its peer closes first. */
  override close(...reason: Parameters<WebSocket['close']>): void {
    this.closedWith ??= reason[0];
    this.connection?.flush();
    super.close(...reason);
  }
}

const of = (ws: WebSocket) => (ws as ConnectedSocket).connection as Connection;

/** Ids reflect the order of opening, which a clock that is set back would not. */
const startedAt = Math.trunc(performance.timeOrigin);
/** The same for all: what makes them unique among all processes. */
const random = randomBytes(16);
let opened = 0;

/** One socket: takes frames in order, answers each once, and ends with a code that says why. */
export class Connection extends Inbox implements ServicePeer {
  #id: string | undefined;
  /** Who is at it; undefined: it has yet to say so. */
  #principal: Principal | undefined;
  /** What its peer wants besides to be known by; absent: it has not said. */
  #wish: IdentifyWish | undefined;
  /** Bytes that it has sent without saying who it is. */
  #unknownBytes = 0;
  #isWarned = false;
  /** Follows from who is at it; where that may be anybody, given by the first accepted request that has a role. */
  role: Role | undefined;
  /** The session this socket holds, from before it is created on. `Holders` decides it, with the next two. */
  sessionId: string | undefined;
  /** The version of its record that gave it to this socket. */
  heldSince = 0;
  /** Whose session that is. */
  owner: string | undefined;
  /** Follows the log of the held session. */
  #cursor: LogCursor | undefined;
  /** Follow other sessions' logs, by session. */
  #watches: Map<string, LogCursor> | undefined;
  /** The service registered here. */
  service: Instance | undefined;

  declare protected readonly parts: ConnectionParts;
  #brokeProtocol = false;
  #ignored: IgnoredFields | undefined;
  #stalled = false;
  #accepted = false;
  #refused = 0;
  /** Resume tokens that were wrong. Nothing that is accepted in between makes a guess less of one. */
  #guesses = 0;
  /** Of the time in which sockets are looked after. */
  readonly #openedAt: number;
  /** Among all connections of the process. */
  readonly #order: number;
  /** Of the time in which sockets are looked after. */
  #pingedAt: number | undefined;

  constructor(ws: ConnectedSocket, socket: Socket, parts: ConnectionParts, principal: Principal | undefined) {
    super(ws, socket, parts);
    if (principal) this.#become(principal);
    this.#openedAt = parts.watchedMs();
    this.#order = ++opened;
    ws.connection = this;
    const { message, ping, error, close } = Connection.#on;
    ws.on('message', message).on('ping', ping).on('error', error).on('close', close);
  }

  static readonly #on = {
    message(this: WebSocket, data: RawData, isBinary: boolean) {
      of(this).receive(data, isBinary);
    },
    ping(this: WebSocket, payload: Buffer) {
      of(this).pong(payload);
    },
    /** A frame that breaks the protocol: ws closes by itself, and its close event would say 1006 only. */
    error(this: WebSocket, { code, message }: Error & { code?: string }) {
      const connection = of(this);
      connection.#brokeProtocol = true;
      connection.parts.log.info({ err: { code, message }, connection_id: connection.id }, 'socket broke the protocol');
    },
    close(this: WebSocket, code: number) {
      of(this).#ended(code);
    },
  };

  /** Of two connections of a node the one that was opened later has the larger id, whichever is asked for it first. */
  get id(): string {
    this.#id ??= uuid({ msecs: startedAt, seq: this.#order, random });
    return this.#id;
  }

  /** Who is at it. @throws GatewayError UNAUTHENTICATED it has yet to say so */
  get principal(): Principal {
    if (!this.#principal) throw new GatewayError('UNAUTHENTICATED', 'send IdentifyRequest with a token first');
    return this.#principal;
  }

  get isIdentified(): boolean {
    return this.#principal !== undefined;
  }

  /** Whether it is no stranger: it has a credential, or, where nobody needs one, was accepted once. */
  get #isKnown(): boolean {
    return this.#principal !== undefined && (this.#principal.kind !== 'anybody' || this.#accepted);
  }

  protected override get ownUser(): string | undefined {
    return this.#principal?.user;
  }

  /** Of silence, after which it is pinged. */
  get pingMs(): number {
    const { servicePingMs, clientPingMs } = this.parts.limits;
    return this.#wish?.heartbeatMs ?? (this.role === 'service' ? servicePingMs : clientPingMs);
  }

  /**
   * Its peer has said who it is. Once said, it stays that.
   * @throws GatewayError FORBIDDEN another one is at it, or it has been used as something else
   */
  identify(principal: Principal, wish: IdentifyWish): void {
    const before = this.#principal;
    if (before && before.kind !== 'anybody' && !isSame(before, principal))
      throw new GatewayError('FORBIDDEN', 'this socket belongs to another principal: open a new one');
    const role = roleOf(principal);
    const isOther =
      (this.role !== undefined && role !== undefined && role !== this.role) ||
      (this.owner !== undefined && principal.user !== undefined && principal.user !== this.owner);
    if (isOther) throw new GatewayError('FORBIDDEN', 'this socket was used as something else: open a new one');
    this.#become(principal);
    const { heartbeatMs = this.#wish?.heartbeatMs, attributes = this.#wish?.attributes } = wish;
    if (heartbeatMs !== undefined || attributes !== undefined) this.#wish = { heartbeatMs, attributes };
    const { kind, id, grant } = principal;
    this.parts.log.info(
      { connection_id: this.id, session_id: this.sessionId, kind, principal: id, credential: grant.name, attributes },
      'socket identified',
    );
  }

  #become(principal: Principal): void {
    this.#principal = principal;
    this.#isWarned = false;
    this.role = roleOf(principal) ?? this.role;
  }

  override onFrame(length: number, fragment: number): Breach | undefined {
    if (!this.#principal) {
      this.#unknownBytes += length;
      if (this.#unknownBytes > identifyBytes) return { why: Close.HandshakeTimeout };
    }
    return super.onFrame(length, fragment);
  }

  override close(given: CloseReason | { code: number; reason: string }, held?: Held): void {
    if (this.closing || this.closed) return;
    const { code, reason } = given;
    if (isPeersFault(code)) {
      this.#brokeProtocol = true;
      this.parts.log.info({ connection_id: this.id, session_id: this.sessionId, code, reason }, 'socket closed for what it sent');
    }
    super.close(given, held);
  }

  /** Follows the session that it holds, or is to be sent the end of. What did so before has ended. */
  follow<T extends LogCursor>(cursor: T): T {
    this.unfollow();
    this.#cursor = cursor;
    return cursor;
  }

  unfollow(): void {
    this.#cursor?.stop();
    this.#cursor = undefined;
  }

  /** Follows another session too; one it follows already is started anew. @throws GatewayError ILLEGAL_STATE too many at once */
  watch(sessionId: string, make: () => LogCursor): void {
    this.unwatch(sessionId);
    this.#watches ??= new Map();
    if (this.#watches.size >= maxWatches) throw new GatewayError('ILLEGAL_STATE', `a socket can watch at most ${maxWatches} sessions`);
    const cursor = make();
    this.#watches.set(sessionId, cursor);
    cursor.start();
  }

  unwatch(sessionId: string): void {
    this.#watches?.get(sessionId)?.stop();
    this.#watches?.delete(sessionId);
  }

  sendError(error: GatewayError, id?: string): void {
    this.#ignored?.take(undefined, id);
    const body = {
      type: 'Error',
      ...(id !== undefined && { id }),
      ...error.body(this.parts.clock.now()),
      ...(this.sessionId !== undefined && { session_id: this.sessionId }),
    };
    this.#answer(JSON.stringify(body));
  }

  sendAnswer(answer: Answer, id: string | undefined): void {
    this.#answer(answerText(answer, id, this.#ignored?.take(answer.type, id)));
  }

  #answer(text: string): void {
    const frame = textFrame(text);
    this.charge(frame.length);
    this.sendFrame(frame);
  }

  /** The storage failed while events were read for this socket: it is tried again by the next sweep. */
  stall(): void {
    this.#stalled = true;
  }

  /**
   * Called by the sweep: pings a silent socket, ends one that is gone, slow, or never said anything.
   * @param watchedMs as `ConnectionParts.watchedMs`: time in which the gateway itself stood still counts against nobody
   */
  check(now: number, watchedMs: number): void {
    if (this.closed) return;
    const { limits } = this.parts;
    if (this.#stalled) {
      this.#stalled = false;
      this.onFlushed();
    }
    if (!this.#isKnown && watchedMs - this.#openedAt >= (this.#principal ? limits.firstFrameMs : identifyMs))
      return this.close(Close.HandshakeTimeout);
    if (this.#expires(now)) return;
    this.checkOutbox(watchedMs);
    // pausing stops pongs as well: paused time does not count
    if (this.isReadingPaused) return;
    if (this.#pingedAt !== undefined) {
      if (watchedMs - this.#pingedAt >= limits.pongTimeoutMs) this.terminate();
      return;
    }
    if (now - this.seenAt < this.pingMs || this.closing) return;
    this.#pingedAt = watchedMs;
    this.ws.ping();
  }

  /** Tells it in time that its credential expires, and closes it then. @returns whether it is closed */
  #expires(now: number): boolean {
    const expiresAt = this.#principal?.expiresAt;
    if (expiresAt === undefined) return false;
    if (now >= expiresAt) this.close(Close.CredentialExpired);
    else if (!this.#isWarned && now >= expiresAt - expiringMs) {
      this.#isWarned = true;
      this.send({ type: 'CredentialExpiring', expires_at: iso(expiresAt) });
    }
    return this.closing;
  }

  protected override onSign(): void {
    this.#pingedAt = undefined;
  }

  protected override onWritable(): void {
    this.#cursor?.wake();
    for (const watch of this.#watches?.values() ?? []) watch.wake();
  }

  protected override handle(parsed: Parsed): Promise<void> | undefined {
    if (parsed.ok) {
      if (parsed.ignored) this.#ignore(parsed.request, parsed.ignored);
      return this.#carryOut(requests[parsed.request.type], parsed.request);
    }
    this.#refuse(new GatewayError(parsed.code, parsed.message, parsed.details && { details: parsed.details }), parsed.id);
    if (parsed.code !== 'VALIDATION_FAILED') this.close(Close.BadMessage);
    return undefined;
  }

  /** Fields may be of a later version, and are no fault; a misspelt one has no effect, which its sender should hear. */
  #ignore({ type, id }: Request, names: readonly string[]): void {
    this.parts.log.debug({ connection_id: this.id, session_id: this.sessionId, type, ignored: names }, 'unknown fields ignored');
    const { reply } = requests[type] as RequestRow;
    // without the subprotocol an answer has nothing that older clients do not know
    if (reply === undefined || this.ws.protocol === '') return;
    this.#ignored ??= new IgnoredFields();
    this.#ignored.add(reply, id, names);
  }

  #carryOut(row: RequestRow, request: Request): Promise<void> | undefined {
    try {
      if (row.access !== 'anything' && this.#principal?.kind !== 'anybody') {
        // what it sends counts no more, before the next look at it
        if (this.#expires(this.seenAt)) return undefined;
        if (!mayCall(this.principal, row.access)) throw mayNotAsk(row.access);
        audit(this.parts.log, this.principal, request.type, { body: request });
      }
      if (!row.from.some((role) => this.#mayBe(role)))
        throw new GatewayError(
          'FORBIDDEN',
          this.role === undefined ? `this peer may not send ${request.type}` : `a ${this.role} socket may not send ${request.type}`,
        );
      const outcome = dispatch(this.parts.handlers, request, this);
      if (outcome instanceof Promise) return this.#finish(row, outcome, request.id);
      this.#answered(row, outcome, request.id);
    } catch (error) {
      this.#refuse(error, request.id);
    }
    return undefined;
  }

  #mayBe(role: Role): boolean {
    return this.role === undefined || this.role === role;
  }

  /** Cannot reject. */
  async #finish(row: RequestRow, outcome: Promise<Outcome>, id: string | undefined): Promise<void> {
    try {
      this.#answered(row, await outcome, id);
    } catch (error) {
      this.#refuse(error, id);
    }
  }

  #answered(row: RequestRow, outcome: Outcome, id: string | undefined): void {
    this.#accepted = true;
    this.#refused = 0;
    if (this.role === undefined && row.givesRole !== false) this.role = row.from.find((role) => this.#mayBe(role));
    if (outcome !== undefined && outcome !== later) this.sendAnswer(outcome, id);
  }

  #refuse(error: unknown, id: string | undefined): void {
    const { log, limits } = this.parts;
    if (error instanceof GatewayError) {
      const { code, message } = error;
      log.info(
        { connection_id: this.id, session_id: this.sessionId, service_id: this.service?.service_id, code, message },
        'frame refused',
      );
      this.sendError(error, id);
      if (error.code === 'RESUME_INVALID') this.#guesses += 1;
      else if (strikes.has(error.code)) this.#refused += 1;
      else {
        this.#accepted = true;
        this.#refused = 0;
      }
      if (this.#refused + this.#guesses >= limits.maxRefusedInARow) this.close(Close.TooManyRefused);
      return;
    }
    if (error instanceof StorageError) {
      log.debug({ err: error, connection_id: this.id, session_id: this.sessionId }, 'storage failed');
      return this.sendError(storageFailed(error), id);
    }
    const error_id = uuid();
    log.error({ err: error, connection_id: this.id, session_id: this.sessionId, error_id }, 'request handler threw');
    this.sendError(new GatewayError('INTERNAL', 'Internal error', { details: { error_id } }), id);
  }

  #ended(code: number): void {
    if (this.closed) return;
    // what a peer answers to our close says nothing of what it wants
    const onPurpose = !this.closing && (code === 1_000 || code === 1_005);
    this.ended = this.#brokeProtocol ? 'refused' : onPurpose ? 'closed' : 'broken';
    this.dropWaiting();
    for (const watch of this.#watches?.values() ?? []) watch.stop();
    this.#watches = undefined;
    this.onFlushed();
    this.parts.onEnd(this, (this.ws as ConnectedSocket).closedWith ?? code);
  }
}
