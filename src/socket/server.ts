import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import { type ServerOptions, WebSocketServer } from 'ws';
import { Close, type CloseReason } from '../../protocol/close.ts';
import { errors } from '../../protocol/errors.ts';
import { maxDepth } from '../../protocol/parse.ts';
import { PROTOCOL_VERSION, SUBPROTOCOL } from '../../protocol/version.ts';
import { type Admission, askedFor } from '../auth/admission.ts';
import { type Admitted, type NotAdmitted, type Principal, refusalHeaders } from '../auth/principal.ts';
import type { Clock } from '../clock.ts';
import { earlyErrorListener, refuseUpgrade } from '../edge/raw.ts';
import { senderOf } from '../edge/sender.ts';
import { hasBody } from '../edge/target.ts';
import { Bucket } from '../level.ts';
import type { Registrations } from '../services/registration.ts';
import { afterRunning, inTurns, spreadMs } from '../time.ts';
import type { Turn } from '../turn.ts';
import { ConnectedSocket, Connection, type ConnectionParts, identifyMs, type SocketLimits } from './connection.ts';
import type { Handlers } from './dispatch.ts';
import { textFrame } from './frames.ts';
import type { Holders } from './holders.ts';
import { frameRate } from './metered.ts';
import { Tarpit } from './tarpit.ts';
import { endOnlyOnce, listenToFrames } from './ws-internals.ts';

const checkMs = 1_000;
/** A peer that does not answer our close frame is cut after this. */
const closeTimeoutMs = 2_000;
/** At a stop so many sockets are closed in each step: one a millisecond. */
const closeStepMs = 100;
const closedAtOnce = 100;
/** The largest limit that ws takes. */
const maxInt = 0x7fffffff;
/** So many sockets above the limit are accepted at once, only to be closed with 4503: a page sees a close code, but no HTTP status. */
const maxTurnedAway = 256;

export interface SocketServerParts {
  registrations: Registrations;
  holders: Holders;
  handlers: Handlers<Connection>;
  admit: Admission;
  /** How peers may say who they are; none: they need not. */
  authMethods: readonly string[];
  limits: SocketLimits & { maxConnections: number; upgradesPerSecond: number };
  /** Called once for each socket, when it has ended, with the code it was closed with. */
  onClosed?: ((code: number) => void) | undefined;
  turn: Turn;
  clock: Clock;
  log: Logger;
  version: string;
  nodeId: string;
}

/** Opens the sockets of clients and services, with `upgrade`, and keeps their connections. */
export class SocketServer {
  readonly #parts: SocketServerParts;
  readonly #connections = new Set<Connection>();
  readonly #wss: WebSocketServer;
  readonly #shared: ConnectionParts;
  readonly #stop: () => void;
  readonly #onEarlyError: (err: Error) => void;
  #draining = false;
  /** Sockets above the limit that are being closed. */
  #turnedAway = 0;
  readonly #upgrades: Bucket;

  constructor(parts: SocketServerParts) {
    this.#parts = parts;
    this.#upgrades = new Bucket(parts.limits.upgradesPerSecond);
    const { handlers, limits, clock, log } = parts;
    this.#onEarlyError = earlyErrorListener(log);
    let watchedMs = 0;
    this.#shared = {
      handlers,
      turn: parts.turn,
      tarpit: new Tarpit(),
      limits,
      clock,
      log,
      watchedMs: () => watchedMs,
      onEnd: (connection, code) => this.#ended(connection, code),
    };
    this.#wss = new WebSocketServer({
      noServer: true,
      WebSocket: ConnectedSocket,
      maxPayload: parts.limits.maxFrameBytes,
      perMessageDeflate: false,
      clientTracking: false,
      handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
      // pings, fragments and rates are the connection's: ws would cut a peer that sends many, or close it with 1008; it has to count fragments, though
      autoPong: false,
      // these three are not in @types/ws
      ...({ closeTimeout: closeTimeoutMs, maxFragments: maxInt, maxBufferedChunks: maxInt } as ServerOptions),
    });
    this.#wss.on('error', (err) => parts.log.error({ err }, 'websocket server failed'));
    this.#wss.on('wsClientError', (error, socket) => refuseUpgrade(socket, 400, error.message));
    this.#stop = parts.clock.every(checkMs, () => {
      const now = parts.clock.now();
      watchedMs += checkMs;
      for (const connection of this.#connections) connection.check(now, watchedMs);
    });
  }

  get size(): number {
    return this.#connections.size;
  }

  /** Closes the sockets of principals that may not stay with 4401. @returns how many */
  async recheck(mayStay: (principal: Principal) => boolean): Promise<number> {
    // whoever was let in just before is a socket then
    await new Promise((turn) => setImmediate(turn));
    let closed = 0;
    await inTurns([...this.#connections], (connection) => {
      if (!connection.isIdentified || mayStay(connection.principal)) return;
      closed += 1;
      connection.close(Close.Unauthenticated);
    });
    return closed;
  }

  /** Refuses new sockets and notifies the others that they will be closed. */
  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true;
    const frame = textFrame(JSON.stringify({ type: 'GoAway', reason: 'shutdown', deadline_ms: deadlineMs }));
    await inTurns([...this.#connections], (connection) => connection.sendFrame(frame));
  }

  /**
   * Closes every socket with 4452, and cuts those that do not answer within 2 s. Their sessions know it then.
   * @param withinMs all of these many are closed over, each at a random time: they go to other nodes, which would have them all at once
   */
  async close(withinMs: number): Promise<void> {
    this.#draining = true;
    const open = [...this.#connections];
    const ended = open.map((connection) => new Promise<void>((done) => this.#onGone.set(connection, done)));
    const steps = Math.max(1, Math.min(Math.ceil(open.length / closedAtOnce), Math.floor(withinMs / closeStepMs)));
    const batches: Connection[][] = Array.from({ length: steps }, () => []);
    for (const connection of open) batches[Math.floor(Math.random() * steps)]?.push(connection);
    await this.#closeInSteps(batches);
    this.#stop();
    const cancel = afterRunning(closeTimeoutMs, () => {
      for (const connection of open) connection.terminate();
    });
    await Promise.all(ended);
    cancel();
    await Promise.all(this.#reporting);
  }

  async #closeInSteps(batches: Connection[][]): Promise<void> {
    const closeBatch = () => inTurns(batches.pop() ?? [], (connection) => connection.close(Close.Draining));
    await closeBatch();
    if (batches.length === 0) return;
    await new Promise<void>((done) => {
      const stop = this.#parts.clock.every(closeStepMs, () => {
        const closed = closeBatch();
        if (batches.length > 0) return;
        stop();
        void closed.then(done);
      });
    });
  }

  /** Ends of sockets that are being reported to their sessions. */
  readonly #reporting = new Set<Promise<unknown>>();
  readonly #onGone = new Map<Connection, () => void>();

  /** Answers a GET that asks for a WebSocket: with one, or with why not. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', this.#onEarlyError);
    const found = this.#parts.admit(request);
    // mode none answers at once, and a thousand sockets at once need no promise each
    if (found instanceof Promise) void found.then((later) => this.#upgrade(later, request, socket, head));
    else this.#upgrade(found, request, socket, head);
  }

  #upgrade(found: Admitted, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { log } = this.#parts;
    const { headers } = request;
    // on a socket it is said who somebody is, or why that is not believed: a page sees no status
    const later = 'refused' in found ? saidOnSocket(found.refused) : undefined;
    const refusal = 'refused' in found && later === undefined ? found.refused : undefined;
    const refusalStatus = refusal === undefined ? undefined : errors[refusal.code].status;
    const refused = (status: number, message: string, more?: Record<string, string>) => {
      log[(status === refusalStatus && refusal?.level) || 'info']({ ...askedFor(request), status, message }, 'socket refused');
      refuseUpgrade(socket, status, message, more);
    };
    if (refusal) return refused(errors[refusal.code].status, refusal.message, refusalHeaders(refusal));
    if (this.#draining) return refused(503, 'the gateway is shutting down', retryLater());
    // its bytes would be taken for frames
    if (hasBody(request)) return refused(400, 'an upgrade must not have a body');
    if (headers['sec-websocket-version'] !== '13') {
      return refused(426, 'the only version is 13', { upgrade: 'websocket', connection: 'upgrade, close', 'sec-websocket-version': '13' });
    }
    const offered = headers['sec-websocket-protocol'];
    // ws would take the socket without one, and clients then fail
    if (offered !== undefined && !offered.split(',').some((name) => name.trim() === SUBPROTOCOL)) {
      return refused(400, `the only subprotocol is ${SUBPROTOCOL}`);
    }
    if (!this.#mayCome()) return refused(503, 'too many new sockets at once', retryLater());
    // a list of offers is allowed, and ws takes none
    headers.upgrade = 'websocket';
    this.#wss.handleUpgrade(request, socket, head, (ws) => {
      // the websocket has its own listener from here on
      socket.off('error', this.#onEarlyError);
      if (typeof later === 'object') return this.#turnAway(ws as ConnectedSocket, later);
      const connection = this.#take(ws as ConnectedSocket, socket as Socket, 'principal' in found ? found.principal : undefined);
      if (!connection) return;
      // an idle socket has no id that nobody asks for
      if (log.isLevelEnabled('debug'))
        log.debug({ connection_id: connection.id, remoteAddress: senderOf(request).address }, 'socket opened');
      if (offered !== undefined) this.#hello(connection);
    });
  }

  /** Whether one more socket can be accepted now, if only to be closed with 4503. */
  #mayCome(): boolean {
    if (this.#turnedAway >= maxTurnedAway) return false;
    return this.#upgrades.take(this.#parts.clock.now());
  }

  /** Keeps a new websocket, unless there are too many. A separate function: nothing that lives as long as the socket may hold on to its request. */
  #take(ws: ConnectedSocket, socket: Socket, principal: Principal | undefined): Connection | undefined {
    const { limits, log } = this.#parts;
    if (this.#connections.size >= limits.maxConnections) {
      log.warn({ max_connections: limits.maxConnections }, 'socket closed: server.max_connections reached');
      this.#turnAway(ws, Close.Overloaded);
      return undefined;
    }
    const connection = new Connection(ws, socket, this.#shared, principal);
    endOnlyOnce(ws, socket);
    listenToFrames(ws, connection);
    this.#connections.add(connection);
    return connection;
  }

  #turnAway(ws: ConnectedSocket, { code, reason }: CloseReason): void {
    this.#turnedAway++;
    ws.on('error', () => ws.terminate());
    ws.on('close', (given) => {
      this.#turnedAway--;
      this.#parts.onClosed?.(ws.closedWith ?? given);
    });
    ws.close(code, reason);
  }

  #hello(connection: Connection): void {
    const { limits, version, nodeId, authMethods } = this.#parts;
    connection.send({
      type: 'Hello',
      protocol: PROTOCOL_VERSION,
      server: 'session-gateway',
      version,
      node_id: nodeId,
      connection_id: connection.id,
      auth: authMethods.length > 0 ? 'required' : 'none',
      ...(authMethods.length > 0 && { auth_methods: [...authMethods] }),
      heartbeat: { interval_ms: limits.clientPingMs, timeout_ms: limits.pongTimeoutMs },
      limits: {
        max_frame_bytes: limits.maxFrameBytes,
        max_depth: maxDepth,
        max_buffered_bytes: limits.maxBufferedBytes,
        slow_reader_ms: limits.slowReaderMs,
        first_frame_ms: connection.isIdentified ? limits.firstFrameMs : Math.min(identifyMs, limits.firstFrameMs),
        messages_per_second: limits.messagesPerSecond,
        frames_per_second: frameRate(limits),
        bytes_per_second: limits.bytesPerSecond,
        max_fragments: limits.maxFragments,
        max_refused_in_a_row: limits.maxRefusedInARow,
      },
    });
  }

  /** Whatever ended the socket: it holds nothing now, which its session and its service's sessions hear. */
  #ended(connection: Connection, code: number): void {
    const { holders, registrations, log, onClosed } = this.#parts;
    this.#connections.delete(connection);
    const held = holders.ended(connection);
    if (log.isLevelEnabled('debug'))
      log.debug({ connection_id: connection.id, session_id: held?.sessionId, how: connection.ended }, 'socket ended');
    if (held) {
      this.#reporting.add(held.reported);
      void held.reported.then(() => this.#reporting.delete(held.reported));
    }
    if (connection.service) registrations.disconnected(connection.service, this.#draining);
    onClosed?.(code);
    this.#onGone.get(connection)?.();
    this.#onGone.delete(connection);
  }
}

/** What a socket is opened for though its peer is refused: to say who it is, or to hear why what it said is not believed. */
function saidOnSocket(refusal: NotAdmitted): CloseReason | 'identify' | undefined {
  if (refusal.code === 'UNAUTHENTICATED' && refusal.fault === 'missing') return 'identify';
  if (refusal.code === 'FORBIDDEN' || refusal.by !== 'subprotocol') return undefined;
  if (refusal.code === 'UNAVAILABLE') return Close.AuthUnavailable;
  return refusal.fault === 'expired' ? Close.CredentialExpired : Close.Unauthenticated;
}

/** Seconds to wait, not the same for all that were refused together. */
const retryLater = () => ({ 'retry-after': String(Math.ceil(spreadMs(1_000) / 1_000)) });
