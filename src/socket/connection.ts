import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { v7 as uuid } from 'uuid';
import { type RawData, WebSocket } from 'ws';
import { Close, type CloseReason, isPeersFault } from '../../protocol/close.ts';
import { type Parsed, parse } from '../../protocol/parse.ts';
import { type Answer, type Request, type RequestRow, type Role, requests } from '../../protocol/requests.ts';
import type { ServicePeer } from '../services/links.ts';
import type { Instance } from '../services/registry.ts';
import { GatewayError, storageFailed } from '../sessions/errors.ts';
import { type Clock, StorageError } from '../sessions/ports.ts';
import type { Cursor } from './cursor.ts';
import { textFrame } from './frames.ts';
import { dispatch, type Handlers, later } from './handlers.ts';
import type { Turn } from './turn.ts';

/** Frames that wait behind the one in work; a hand types fewer, and a burst of this size is worked off within milliseconds. */
const pauseAt = 32;

/** Requests of one socket that are worked on together: after a restart a service speaks of all its sessions at once. */
const maxTogether = 256;

const maxWatches = 32;

export interface SocketLimits {
  maxFrameBytes: number;
  maxBufferedBytes: number;
  slowReaderMs: number;
  firstFrameMs: number;
  messagesPerSecond: number;
  messageBurst: number;
  maxRefusedInARow: number;
  clientPingMs: number;
  servicePingMs: number;
  pongTimeoutMs: number;
}

/** What all connections of a node share. */
export interface ConnectionParts {
  handlers: Handlers;
  turn: Turn;
  limits: SocketLimits;
  clock: Clock;
  log: Logger;
  /** Called once for each, when its socket has ended. */
  onEnd(connection: Connection): void;
}

/** A websocket that knows its connection: one set of listeners serves all of them, not four closures each. */
export class ConnectedSocket extends WebSocket {
  connection: Connection | undefined;

  /** Leaves nothing unsaid that was queued during this turn, also where its peer closes first. */
  override close(...reason: Parameters<WebSocket['close']>): void {
    this.connection?.flush();
    super.close(...reason);
  }
}

const of = (ws: WebSocket) => (ws as ConnectedSocket).connection as Connection;

/** Ids tell the order of opening, which a clock that is set back would not. */
const startedAt = Math.trunc(performance.timeOrigin);
/** The same for all: what makes them unique among all processes. */
const random = randomBytes(16);
let opened = 0;

/** One socket: takes frames in order, answers each once, and ends with a code that says why. */
export class Connection implements ServicePeer {
  #id: string | undefined;
  /** Given by the first accepted request that has a role. */
  role: Role | undefined;
  /** The session this socket holds, from Creating on. */
  sessionId: string | undefined;
  /** The version of its record that gave it to this socket. */
  heldSince = 0;
  /** Whose session that is. */
  owner: string | undefined;
  /** Follows the log of the held session. */
  cursor: Cursor | undefined;
  /** Follow other sessions' logs, by session. */
  #watches: Map<string, Cursor> | undefined;
  /** The service registered here. */
  service: Instance | undefined;
  /** How the socket ended: as a client ends it on purpose, by the gateway for what was sent, or otherwise; undefined: it has not. */
  ended: 'closed' | 'refused' | 'broken' | undefined;

  readonly #ws: WebSocket;
  readonly #socket: Socket;
  readonly #parts: ConnectionParts;
  /** Frames behind the one in work. */
  #waiting: string[] | undefined;
  /** The frames of this turn of the event loop, as bytes. */
  #out = '';
  #busy = false;
  /** Requests that hold up none of their kind, in work. */
  #together = 0;
  /** Goes on with the one that waits until none of them is left. */
  #whenAlone: (() => void) | undefined;
  #pausedReading = false;
  #flushed: (() => void) | undefined;
  #closing = false;
  #brokeProtocol = false;
  #stalled = false;
  /** Somebody was told that there is no room. */
  #owesWake = false;
  #accepted = false;
  #refused = 0;
  /** Resume tokens that were wrong. Nothing that is accepted in between makes a guess less of one. */
  #guesses = 0;
  /** When its frames would have come had each kept its distance: so far ahead of the clock it may be as a burst is long (GCRA, ITU-T I.371). */
  #framesUntil = 0;
  readonly #openedAt: number;
  /** Among all connections of the process. */
  readonly #order: number;
  #seenAt: number;
  #pingedAt: number | undefined;
  #writtenBytes = 0;
  /** Since when too much waits for this peer, and it reads none of it. */
  #stuckSince: number | undefined;

  constructor(ws: ConnectedSocket, socket: Socket, parts: ConnectionParts) {
    this.#ws = ws;
    this.#socket = socket;
    this.#parts = parts;
    this.#openedAt = this.#seenAt = parts.clock.now();
    this.#order = ++opened;
    ws.connection = this;
    const { message, pong, error, close } = Connection.#on;
    ws.on('message', message).on('pong', pong).on('error', error).on('close', close);
  }

  static readonly #on = {
    message(this: WebSocket, data: RawData, isBinary: boolean) {
      of(this).#receive(data, isBinary);
    },
    pong(this: WebSocket) {
      of(this).#sawSign();
    },
    /** A frame that breaks the protocol: ws closes by itself, and its close event would say 1006 only. */
    error(this: WebSocket, { code, message }: Error & { code?: string }) {
      const connection = of(this);
      connection.#brokeProtocol = true;
      connection.#parts.log.info({ err: { code, message }, connection_id: connection.id }, 'socket broke the protocol');
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

  get closed(): boolean {
    return this.ended !== undefined;
  }

  /** Queues a frame; false: the socket is ending. */
  send(frame: object): boolean {
    return this.sendText(JSON.stringify(frame));
  }

  sendText(frame: string): boolean {
    return this.sendFrame(textFrame(frame));
  }

  /** As `send`, of a frame that is encoded already; it may go to many sockets. */
  sendFrame(frame: string): boolean {
    if (this.#closing || this.ended !== undefined) return false;
    if (this.#out === '') this.#parts.turn.add(this);
    this.#out += frame;
    return true;
  }

  /** Writes what was queued during this turn: not through the sender of ws, which writes each frame by itself and in two parts. */
  flush(): void {
    const frames = this.#out;
    this.#out = '';
    if (frames === '' || this.#ws.readyState !== this.#ws.OPEN) return;
    // the end of these frames wakes those who stopped because too much waited
    const isFull = this.#socket.writableLength + frames.length > this.#parts.limits.maxBufferedBytes;
    if (!isFull && !this.#owesWake) this.#socket.write(frames, 'latin1');
    else this.#socket.write(frames, 'latin1', () => this.#onFlushed());
  }

  /** Whether more may be written now; if not, those who follow a session here are woken when it may. */
  get writable(): boolean {
    if (this.#closing || this.ended !== undefined) return false;
    if (this.#ws.bufferedAmount + this.#out.length <= this.#parts.limits.maxBufferedBytes) return true;
    this.#owesWake = true;
    return false;
  }

  close({ code, reason }: CloseReason | { code: number; reason: string }): void {
    if (this.#closing || this.closed) return;
    this.flush();
    this.#closing = true;
    this.#brokeProtocol ||= isPeersFault(code);
    this.#waiting = undefined;
    this.#ws.close(code, reason);
  }

  /** Follows another session too; one it follows already is begun anew. @throws GatewayError ILLEGAL_STATE too many at once */
  watch(sessionId: string, make: () => Cursor): void {
    this.unwatch(sessionId);
    this.#watches ??= new Map();
    if (this.#watches.size >= maxWatches) throw new GatewayError('ILLEGAL_STATE', `a socket follows at most ${maxWatches} sessions`);
    const cursor = make();
    this.#watches.set(sessionId, cursor);
    cursor.start();
  }

  unwatch(sessionId: string): void {
    this.#watches?.get(sessionId)?.stop();
    this.#watches?.delete(sessionId);
  }

  terminate(): void {
    this.#ws.terminate();
  }

  sendError(error: GatewayError, id?: string): void {
    this.send({
      type: 'Error',
      ...(id !== undefined && { id }),
      ...error.body(this.#parts.clock.now()),
      ...(this.sessionId !== undefined && { session_id: this.sessionId }),
    });
  }

  sendAnswer({ type, body }: Answer, id: string | undefined): void {
    // in front of the body's text, which is never empty: quicker than one more object
    const head = id === undefined ? `{"type":"${type}"` : `{"type":"${type}","id":${JSON.stringify(id)}`;
    this.sendText(`${head},${JSON.stringify(body).slice(1)}`);
  }

  /** The storage failed while events were read for this socket: it is tried again by the next sweep. */
  stall(): void {
    this.#stalled = true;
  }

  /** Called by the sweep: pings a silent socket, ends one that is gone, slow, or never said anything. */
  check(now: number): void {
    if (this.closed) return;
    const { limits } = this.#parts;
    // what ws itself writes may have filled the buffer, and tells nobody when it is gone
    if (this.#stalled || (this.#owesWake && this.writable)) {
      this.#stalled = false;
      this.#onFlushed();
    }
    if (!this.#accepted && now - this.#openedAt >= limits.firstFrameMs) return this.close(Close.HandshakeTimeout);
    this.#checkReader(now);
    // pausing stops pongs as well: paused time does not count
    if (this.#pausedReading) return;
    if (this.#pingedAt !== undefined) {
      if (now - this.#pingedAt >= limits.pongTimeoutMs) this.#ws.terminate();
      return;
    }
    const interval = this.role === 'service' ? limits.servicePingMs : limits.clientPingMs;
    if (now - this.#seenAt < interval || this.#closing) return;
    this.#pingedAt = now;
    this.#ws.ping();
  }

  #checkReader(now: number): void {
    const { limits } = this.#parts;
    const waits = this.#ws.bufferedAmount > limits.maxBufferedBytes;
    if (!waits && this.#stuckSince === undefined) return;
    const writtenBytes = this.#socket.bytesWritten - this.#socket.writableLength;
    const progress = writtenBytes > this.#writtenBytes;
    this.#writtenBytes = writtenBytes;
    if (!waits) this.#stuckSince = undefined;
    else if (progress || this.#stuckSince === undefined) this.#stuckSince = now;
    else if (now - this.#stuckSince >= limits.slowReaderMs) {
      // it reads nothing, so it would not read the close frame either: soon after, the socket is cut
      this.close(Close.TooSlow);
      this.#onFlushed();
    }
  }

  #sawSign(now = this.#parts.clock.now()): void {
    this.#seenAt = now;
    this.#pingedAt = undefined;
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (this.#closing) return;
    const now = this.#parts.clock.now();
    this.#sawSign(now);
    if (isBinary) return this.close({ code: 1003, reason: 'text frames only' });
    if (!this.#isInTime(now)) return;
    // ws hands text over as one Buffer
    const frame = (data as Buffer).toString();
    if (this.#busy) {
      this.#waiting ??= [];
      if (this.#waiting.push(frame) === pauseAt) this.#pauseReading(true);
      return;
    }
    // most frames are done with at once, and need no loop
    const done = this.#handle(frame);
    if (done || !this.writable) void this.#drain(done);
  }

  #isInTime(now: number): boolean {
    const { limits } = this.#parts;
    const distanceMs = 1_000 / limits.messagesPerSecond;
    const until = Math.max(this.#framesUntil, now) + distanceMs;
    // half a frame more: the sums are rounded
    if (until - now < (limits.messageBurst + 0.5) * distanceMs) {
      this.#framesUntil = until;
      return true;
    }
    const retryAfterMs = Math.ceil(distanceMs);
    this.sendError(new GatewayError('RATE_LIMITED', `more than ${limits.messagesPerSecond} messages a second`, { retryAfterMs }));
    this.close(Close.RateLimited);
    return false;
  }

  #pauseReading(paused: boolean): void {
    this.#pausedReading = paused;
    if (paused) this.#ws.pause();
    else {
      this.#ws.resume();
      this.#sawSign();
    }
  }

  /** One loop a socket, not one promise chain a frame: waits for the frame in work, then takes what came meanwhile. Cannot reject. */
  async #drain(inWork: Promise<void> | undefined): Promise<void> {
    this.#busy = true;
    for (let done = inWork; ; ) {
      if (done) await done;
      if (!this.writable && !this.closed) await new Promise<void>((flushed) => this.#whenFlushed(flushed));
      const frame = this.#waiting?.shift();
      if (frame === undefined) break;
      if (this.#pausedReading && (this.#waiting?.length ?? 0) < pauseAt) this.#pauseReading(false);
      done = this.#handle(frame);
    }
    this.#busy = false;
  }

  #whenFlushed(flushed: () => void): void {
    this.flush();
    if (this.#closing || this.closed || this.writable) return flushed();
    this.#flushed = flushed;
    // an empty ping carries the callback behind what waits
    this.#ws.ping(undefined, undefined, () => this.#onFlushed());
  }

  #onFlushed(): void {
    this.#owesWake = false;
    this.#flushed?.();
    this.#flushed = undefined;
    this.cursor?.wake();
    for (const watch of this.#watches?.values() ?? []) watch.wake();
  }

  /** @returns what those behind it wait for; undefined: they need not */
  #handle(frame: string): Promise<void> | undefined {
    const parsed = parse(frame);
    const isOneMore = parsed.ok && (requests[parsed.request.type] as RequestRow).together && this.#together < maxTogether;
    if (this.#together === 0 || isOneMore) return this.#take(parsed);
    const alone = new Promise<void>((done) => {
      this.#whenAlone = done;
    });
    return alone.then(() => (this.#closing || this.closed ? undefined : this.#take(parsed)));
  }

  #take(parsed: Parsed): Promise<void> | undefined {
    if (parsed.ok) return this.#carryOut(requests[parsed.request.type], parsed.request);
    this.#refuse(new GatewayError(parsed.code, parsed.message, parsed.details && { details: parsed.details }), parsed.id);
    if (parsed.code !== 'VALIDATION_FAILED') this.close(Close.BadMessage);
    return undefined;
  }

  #carryOut(row: RequestRow, request: Request): Promise<void> | undefined {
    try {
      if (this.role !== undefined && !row.from.includes(this.role))
        throw new GatewayError('FORBIDDEN', `a ${this.role} socket may not send ${request.type}`);
      const outcome = dispatch(this.#parts.handlers, request, this);
      if (!(outcome instanceof Promise)) {
        this.#answered(row, outcome, request.id);
        return undefined;
      }
      if (row.together) this.#together += 1;
      const settled = outcome.then(
        (answer) => this.#settled(row, () => this.#answered(row, answer, request.id), request.id),
        (error) => this.#settled(row, () => this.#refuse(error, request.id), request.id),
      );
      return row.together ? undefined : settled;
    } catch (error) {
      this.#refuse(error, request.id);
    }
    return undefined;
  }

  /** A request that took a while has been carried out. Cannot throw. */
  #settled(row: RequestRow, tell: () => void, id: string | undefined): void {
    try {
      tell();
    } catch (error) {
      this.#refuse(error, id);
    }
    if (!row.together) return;
    this.#together -= 1;
    if (this.#together > 0) return;
    this.#whenAlone?.();
    this.#whenAlone = undefined;
  }

  #answered(row: RequestRow, outcome: Answer | typeof later | void, id: string | undefined): void {
    this.#accepted = true;
    this.#refused = 0;
    if (this.role === undefined && row.givesRole !== false) this.role = row.from[0];
    if (outcome !== undefined && outcome !== later) this.sendAnswer(outcome, id);
  }

  #refuse(error: unknown, id: string | undefined): void {
    const { log, limits } = this.#parts;
    if (error instanceof GatewayError) {
      log.debug({ connection_id: this.id, session_id: this.sessionId, code: error.code }, 'frame refused');
      this.sendError(error, id);
      if (error.code === 'RESUME_INVALID') this.#guesses += 1;
      else if (error.code === 'VALIDATION_FAILED' || error.code === 'FORBIDDEN') this.#refused += 1;
      else {
        this.#accepted = true;
        this.#refused = 0;
      }
      if (this.#refused + this.#guesses >= limits.maxRefusedInARow) this.close(Close.TooManyRefused);
      return;
    }
    if (error instanceof StorageError) {
      log.warn({ err: error, connection_id: this.id, session_id: this.sessionId }, 'storage failed');
      return this.sendError(storageFailed(), id);
    }
    log.error({ err: error, connection_id: this.id, session_id: this.sessionId, error_id: this.id }, 'frame failed');
    this.sendError(new GatewayError('INTERNAL', 'Internal error', { details: { error_id: this.id } }), id);
  }

  #ended(code: number): void {
    if (this.closed) return;
    // what a peer answers to our close says nothing of what it wants
    const onPurpose = !this.#closing && (code === 1_000 || code === 1_005);
    this.ended = this.#brokeProtocol ? 'refused' : onPurpose ? 'closed' : 'broken';
    this.#waiting = undefined;
    for (const watch of this.#watches?.values() ?? []) watch.stop();
    this.#watches = undefined;
    this.#onFlushed();
    this.#parts.onEnd(this);
  }
}
