import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Logger } from 'pino';
import { v7 as uuid } from 'uuid';
import { Close } from '../protocol/close.ts';
import { isBoundAt, localUrl } from './addresses.ts';
import { admission } from './auth/admission.ts';
import { authModeOf } from './auth/modes.ts';
import type { Authenticate } from './auth/principal.ts';
import { type Clock, systemClock } from './clock.ts';
import { type Config, ConfigError, gatewayName } from './config.ts';
import { allowedNetworks, refuse, settingName } from './config-load.ts';
import { StorageError } from './errors.ts';
import { requestListener, restApp } from './http/app.ts';
import { Budget } from './http/budget.ts';
import { documents } from './http/documents.ts';
import { endpoints } from './http/endpoints.ts';
import { listen } from './http/listen.ts';
import { webhook } from './http/webhook.ts';
import { LimitedLog } from './log/limited.ts';
import { Leftovers } from './rooms/leftovers.ts';
import { type LiveKitConfig, LiveKitRooms } from './rooms/livekit.ts';
import { Reconciler } from './rooms/reconcile.ts';
import { Dispatcher } from './services/dispatcher.ts';
import { guard } from './services/guard.ts';
import type { EndpointPaths } from './services/links.ts';
import { Outbound } from './services/outbound.ts';
import { Probes } from './services/probes.ts';
import { Reports } from './services/reports.ts';
import { Sessions } from './sessions/commits.ts';
import type { Input } from './sessions/inputs.ts';
import { Nodes, noticedMs } from './sessions/nodes.ts';
import { Openings } from './sessions/open.ts';
import { Operations } from './sessions/operations.ts';
import type { Rooms, SessionStore } from './sessions/ports.ts';
import type { Session } from './sessions/record.ts';
import { RemoteCommits } from './sessions/remote.ts';
import { StorageHealth } from './sessions/storage-health.ts';
import { Feeds } from './socket/feed.ts';
import { handlers } from './socket/handlers.ts';
import { LiveSessions } from './socket/live.ts';
import { SocketServer } from './socket/server.ts';
import { chooseStore, nameOf, openStore, storageUrl, WishError } from './store/open.ts';
import { withVerbs } from './store/verbs.ts';
import { afterRunning, inTurns, iso } from './time.ts';
import { Turn } from './turn.ts';
import { version } from './version.ts';
import { workspaces } from './workspace.ts';

export interface GatewayParts {
  config: Config;
  /** The LiveKit to use, found or configured. */
  livekit: Pick<LiveKitConfig, 'apiKey' | 'apiSecret' | 'mode' | 'serverUrl' | 'expected'>;
  log: Logger;
  /** Default: the machine's. */
  clock?: Clock;
  /** Default: rooms on `livekit`. */
  rooms?: Rooms;
  /** Default: by auth.mode. */
  authenticate?: Authenticate;
}

export interface Gateway {
  /** http://host:port, where it can be reached from this machine. */
  url: string;
  /** What it holds now; all zero when nothing is left behind. */
  holds(): { sockets: number; live_sessions: number; watched_rooms: number; waiting: number };
  live: LiveSessions;
  /** Refuses new work, ends every session, closes every socket with 4452, many not all at once, then stops listening. Ends in bounded time; call it once. */
  close(): Promise<void>;
}

/**
 * Starts a gateway and listens.
 * @throws ConfigError what `checkConfig` refuses
 */
export async function startGateway(parts: GatewayParts): Promise<Gateway> {
  const { config, livekit, log: full, clock = systemClock, rooms: givenRooms, authenticate: givenAuthenticate } = parts;
  const limitedLog = new LimitedLog(full, clock);
  const { log } = limitedLog;
  const nodeId = uuid();
  let draining = false;
  const checkWorkspace = await workspacesOf(config);

  let own: { address: string; port: number } | undefined;
  const outbound = outboundOf(config, (address, port) => own !== undefined && own.port === port && isBoundAt(address, own.address));
  const storageType = config.storage.storage_type ?? nameOf(storageUrl(config.storage));
  const storageHealth = new StorageHealth(log, clock);
  // nothing of this process's own memory can be out of reach
  const isWatched = storageType !== 'memory';
  const store = await storeOf(config, clock, log, isWatched ? storageHealth : undefined);
  const { shared } = store;
  const { server } = config;
  const listener = await listen({ host: server.host, port: server.port, keepAliveMs: server.keep_alive_s * 1_000, clock, log }).catch(
    async (error: NodeJS.ErrnoException) => {
      await store.close();
      throw cannotListen(config, error);
    },
  );
  const { address, port } = listener;
  own = { address, port };
  const authMode = authModeOf(config.auth);
  const admit = admission({
    host: server.host,
    allowedOrigins: server.allowed_origins,
    allowedHosts: server.allowed_hosts,
    authIsSet: config.auth.mode !== undefined,
    authenticate: givenAuthenticate ?? authMode.authenticate(config.auth),
  });

  const name = gatewayName(config, port);
  const names = {
    serverUrl: settingName(config, 'livekit.server_url'),
    apiKey: settingName(config, 'livekit.api_key'),
    apiSecret: settingName(config, 'livekit.api_secret'),
  };
  const rooms = givenRooms ?? new LiveKitRooms({ ...livekit, names, publicUrl: config.livekit.public_url, gatewayName: name }, clock, log);
  const sessions = new Sessions({
    store,
    rooms,
    offers: () => dispatcher,
    clock,
    log,
    sessionLog: full,
    timeouts: { registrationMs: config.microservices.registration_timeout * 1_000, maxMessages: config.limits.messages_per_session },
  });
  const dispatcher: Dispatcher = new Dispatcher({
    sessions,
    rooms,
    clock,
    log,
    nodeId,
    lookMs: () => (shared && !nodes?.isAlone ? noticedMs : undefined),
  });
  const reports = new Reports({ sessions, dispatcher, nodeId });
  const reconciler = new Reconciler({ sessions, rooms, clock, log, lostAfterMs: config.livekit.lost_after_s * 1_000 });
  const leftovers = new Leftovers({ rooms, sessions, store, clock, log, gatewayName: name });
  const paths: EndpointPaths = config.microservices;
  const probes = new Probes({ dispatcher, outbound, paths, clock });
  const live = new LiveSessions();
  const running = new Set<string>();
  sessions.onCommit(({ session: { session_id, status, node_id, resume } }) => {
    // on shared storage a stop ends what its own sockets hold and nobody can take over; the rest lives on
    if (status === 'Terminated' || (shared && (node_id !== nodeId || resume))) running.delete(session_id);
    else running.add(session_id);
  });
  // a LiveKit that is set but wrong is said in the log before the first session asks for it
  void rooms.ping();

  const turn = new Turn();
  const feeds = new Feeds(store, turn);
  const operations = new Operations({ sessions, store, rooms, clock });
  const openings = new Openings({
    sessions,
    store,
    rooms,
    offers: dispatcher,
    checkWorkspace,
    draining: () => draining,
    nodeId,
    exactRoomNames: config.livekit.exact_room_names,
    defaults: {
      registrationMs: config.microservices.registration_timeout * 1_000,
      joinTimeoutMs: config.microservices.join_timeout * 1_000,
      ttlMs: (config.session.default_expiry ?? config.session.ttl_hours * 3_600) * 1_000,
    },
  });
  const { limits, heartbeat } = config;
  const sockets = new SocketServer({
    turn,
    sessions,
    dispatcher,
    live,
    admit,
    authRequired: authMode.isRequired,
    clock,
    log,
    version,
    nodeId,
    limits: {
      maxFrameBytes: limits.frame_bytes,
      maxBufferedBytes: limits.buffered_bytes,
      slowReaderMs: limits.slow_reader_s * 1_000,
      firstFrameMs: limits.first_frame_s * 1_000,
      messagesPerSecond: limits.messages_per_second,
      messageBurst: limits.message_burst,
      framesPerSecond: limits.frames_per_second,
      bytesPerSecond: limits.bytes_per_second,
      answerBytesPerSecond: limits.answer_bytes_per_second,
      maxFragments: limits.fragments,
      maxRefusedInARow: limits.refused_in_a_row,
      maxConnections: server.max_connections,
      upgradesPerSecond: limits.upgrades_per_second,
      clientPingMs: heartbeat.client_s * 1_000,
      servicePingMs: heartbeat.service_s * 1_000,
      pongTimeoutMs: heartbeat.timeout_s * 1_000,
    },
    handlers: handlers({
      openings,
      operations,
      sessions,
      dispatcher,
      reports,
      store,
      feeds,
      rooms,
      clock,
      live,
      log,
      nodeId,
      onBug: (err, peer) => {
        // a storage that is down for a while costs no session
        if (err instanceof StorageError) {
          log.debug({ err, connection_id: peer.id, session_id: peer.sessionId }, 'events could not be read; they are read later');
          return peer.stall();
        }
        log.error({ err, connection_id: peer.id, session_id: peer.sessionId }, 'session could not be followed');
        peer.close(Close.Internal);
      },
    }),
  });

  const stillHere = async (id: string) => {
    const connection_id = live.holder(id);
    if (connection_id === undefined) return;
    const attach = async ({ link, connection_id: last }: Session): Promise<Input | undefined> =>
      link === 'away' && last === connection_id ? { type: 'Attached', node_id: nodeId, connection_id } : undefined;
    await sessions.change(id, attach).catch((err) => {
      const level = err instanceof StorageError ? 'debug' : 'warn';
      log[level]({ err, session_id: id }, 'could not re-attach session after node recovery');
    });
  };
  sessions.onCommit(({ before, session, remote }) => {
    if (!remote) return;
    // a socket of another node holds it now
    if (before?.node_id === nodeId && session.node_id !== nodeId) live.takenOver(session.session_id);
    // another node considered this one dead, and it lives, with the socket
    if (session.link === 'away' && session.node_id === nodeId) void stillHere(session.session_id);
  });
  const remote = shared ? new RemoteCommits({ store, sessions, log }) : undefined;
  if (remote) sessions.startFrom((id) => remote.last(id));
  const nodes = isWatched ? new Nodes({ nodeId, store, sessions, remote, health: storageHealth, clock, log }) : undefined;
  // on shared storage there may be sessions already
  await nodes?.round();
  let lastWebhook: string | undefined;
  const app = restApp({
    admit,
    clock,
    log,
    maxBodyBytes: limits.body_bytes,
    budget: new Budget({ turn, clock, answerBytesPerSecond: limits.answer_bytes_per_second }),
    endpoints: endpoints({
      openings,
      operations,
      sessions,
      store,
      dispatcher,
      reports,
      outbound,
      paths,
      clock,
      version,
      maxWaitMs: server.max_wait_s * 1_000,
      holds: () => ({ sockets: sockets.size, live_sessions: live.size }),
      readiness: async () => {
        const [reachable, stored] = await Promise.all([
          rooms.ping(),
          store.ping().then(
            () => true,
            () => false,
          ),
        ]);
        return {
          ready: !draining && stored && storageHealth.writable && (reachable || livekit.mode === 'on_join'),
          draining,
          livekit: { mode: livekit.mode, url: rooms.url, reachable, webhooks: lastWebhook ?? 'none seen yet' },
          storage: { type: storageType, reachable: stored, writable: stored && storageHealth.writable, warnings: [...store.warnings()] },
          sockets: sockets.size,
          live_sessions: live.size,
        };
      },
    }),
  });
  webhook(app, {
    ...livekit,
    ring: (room) => {
      lastWebhook = iso(clock.now());
      reconciler.ring(room);
    },
  });
  documents(app, version);
  listener.open({ request: requestListener(app, clock), upgrade: (request, socket, head) => sockets.upgrade(request, socket, head) });
  return {
    url: localUrl(server.host, port),
    live,
    holds: () => ({ sockets: sockets.size, live_sessions: live.size, watched_rooms: reconciler.size, waiting: dispatcher.waiting }),
    async close() {
      draining = true;
      const drainMs = server.drain_s * 1_000;
      await sockets.drain(drainMs);
      await endAll(sessions, running, drainMs);
      await sockets.close(drainMs / 2);
      reconciler.close();
      leftovers.close();
      remote?.close();
      probes.close();
      dispatcher.close();
      sessions.close();
      await listener.close();
      await outbound.close();
      await nodes?.close();
      await store.close();
      limitedLog.close();
    },
  };
}

/**
 * Says whether a gateway can be started with this configuration, without starting one. What it refuses is refused by a start with the same words.
 * @throws ConfigError
 * @throws PortInUse nothing else is wrong: somebody listens there now
 */
export async function checkConfig(config: Config): Promise<void> {
  await workspacesOf(config);
  await outboundOf(config).close();
  await chooseStore(config.storage).catch((error) => {
    throw storageRefused(config, error);
  });
  const server = createServer().listen(config.server.port, config.server.host);
  await once(server, 'listening').catch((error) => {
    throw cannotListen(config, error);
  });
  await new Promise((closed) => server.close(closed));
}

/** Another program listens there: the configuration may be right anyway. */
export class PortInUse extends ConfigError {}

function cannotListen(config: Config, { code }: NodeJS.ErrnoException): ConfigError {
  const { host, port } = config.server;
  const isAddress = code === 'ENOTFOUND' || code === 'EADDRNOTAVAIL' || code === 'EAI_AGAIN';
  const { message } = refuse(config, isAddress ? 'server.host' : 'server.port', `cannot listen on ${host}:${port} (${code})`);
  return new (code === 'EADDRINUSE' ? PortInUse : ConfigError)(message);
}

const workspacesOf = (config: Config) =>
  workspaces(config.workspace.roots).catch((error: Error) => {
    throw refuse(config, 'workspace.roots', error.message);
  });

async function storeOf(config: Config, clock: Clock, log: Logger, health: StorageHealth | undefined): Promise<SessionStore> {
  const { storage } = config;
  try {
    const provider = await openStore(storage, { keyPrefix: storage.key_prefix, timeoutMs: storage.timeout_s * 1_000, clock, log });
    return withVerbs(provider, clock, health && ((call, error) => health.failed(call, error)));
  } catch (error) {
    throw storageRefused(config, error);
  }
}

function storageRefused(config: Config, error: unknown): ConfigError {
  if (error instanceof WishError) return refuse(config, `storage.${error.key}`, error.message);
  // a provider's own words may hold its address, and with it a password
  const { url = '', connection_string = '' } = config.storage;
  const said = [url, connection_string]
    .filter(Boolean)
    .reduce((text, secret) => text.replaceAll(secret, '***'), String((error as Error)?.message ?? error));
  return refuse(config, 'storage', said);
}

function outboundOf(config: Config, isOwn?: Parameters<typeof guard>[1]): Outbound {
  const { max_calls: all, max_calls_per_service: perService } = config.microservices;
  try {
    return new Outbound(guard(allowedNetworks(config), isOwn), { all, perService });
  } catch (error) {
    throw refuse(config, 'microservices.allowed_networks', error instanceof Error ? error.message : String(error));
  }
}

/** What the deletion of the last rooms may take beyond the drain time. */
const hurryMs = 2_000;

/** Ends every session and waits until each is over, or the time is. */
async function endAll(sessions: Sessions, running: ReadonlySet<string>, withinMs: number): Promise<void> {
  await applyToAll(sessions, running, { type: 'End', reason: 'shutdown', by: 'gateway' });
  if (await isEmpty(sessions, running, withinMs)) return;
  // the rooms are deleted anyway
  await applyToAll(sessions, running, { type: 'StopWaiting' });
  await isEmpty(sessions, running, hurryMs);
}

async function applyToAll(sessions: Sessions, running: ReadonlySet<string>, input: Input): Promise<void> {
  const applied: Promise<void>[] = [];
  await inTurns([...running], (id) => applied.push(sessions.report(id, input)));
  await Promise.all(applied);
}

/** Waits until no session runs, or the time is over. @returns whether none does */
async function isEmpty(sessions: Sessions, running: ReadonlySet<string>, withinMs: number): Promise<boolean> {
  if (running.size === 0) return true;
  return new Promise<boolean>((done) => {
    const cancel = afterRunning(withinMs, () => done(running.size === 0));
    sessions.onCommit(() => {
      if (running.size > 0) return;
      cancel();
      done(true);
    });
  });
}
