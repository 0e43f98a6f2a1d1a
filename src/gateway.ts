import type { Logger } from 'pino';
import { v7 as uuid } from 'uuid';
import { isBoundAt, localUrl } from './addresses.ts';
import { admission } from './auth/admission.ts';
import type { Authenticate, Authenticator } from './auth/principal.ts';
import { type Clock, systemClock } from './clock.ts';
import { type Config, gatewayName } from './config.ts';
import { settingName } from './config-load.ts';
import { runtimeConfig } from './config-runtime.ts';
import { watchDescriptors } from './descriptors.ts';
import { requestListener, restApp } from './http/app.ts';
import { Budget } from './http/budget.ts';
import { documents } from './http/documents.ts';
import { endpoints } from './http/endpoints.ts';
import { listen } from './http/listen.ts';
import { Ongoing } from './http/ongoing.ts';
import { Readiness } from './http/readiness.ts';
import { Upgrades } from './http/upgrades.ts';
import { webhook } from './http/webhook.ts';
import { LimitedLog } from './log/limited.ts';
import { keysReloader } from './reload.ts';
import { authOf, cannotListen, outboundOf, storageTypeOf, storeOf, tlsOf, workspacesOf } from './resources.ts';
import { Leftovers } from './rooms/leftovers.ts';
import { type LiveKitConfig, LiveKitRooms } from './rooms/livekit.ts';
import { Reconciler } from './rooms/reconcile.ts';
import { Dispatcher } from './services/dispatcher.ts';
import { httpLinks } from './services/http-link.ts';
import { linkBy } from './services/link-by-scheme.ts';
import { Probes } from './services/probes.ts';
import { Registrations } from './services/registration.ts';
import { Reports } from './services/reports.ts';
import { Sessions } from './sessions/commits.ts';
import { Nodes, noticedMs } from './sessions/nodes.ts';
import { Openings } from './sessions/open.ts';
import { Operations } from './sessions/operations.ts';
import type { Rooms } from './sessions/ports.ts';
import { RemoteCommits } from './sessions/remote.ts';
import { Shutdown } from './sessions/shutdown.ts';
import { StorageHealth } from './sessions/storage-health.ts';
import { Feeds } from './socket/feed.ts';
import { handlers } from './socket/handlers.ts';
import { Holders } from './socket/holders.ts';
import { SocketServer } from './socket/server.ts';
import type { StartTransport, Transport } from './transport.ts';
import { Turn } from './turn.ts';
import { version } from './version.ts';

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
  /** How peers say who they are. Default: by auth.mode. */
  auth?: Authenticator;
  /** The configuration as its files say it now. Default: `config`. @throws ConfigError */
  readConfig?: () => Config;
  /** Called once for each socket, when it has ended, with the code it was closed with. */
  onClosed?: (code: number) => void;
  /** Further ones, besides REST and sockets. */
  transports?: readonly StartTransport[];
}

export interface Gateway {
  /** http://host:port, where it can be reached from this machine. */
  url: string;
  /** What it holds now; all zero when nothing is left behind. */
  holds(): { sockets: number; live_sessions: number; watched_rooms: number; waiting: number };
  holders: Holders;
  /** Refuses new work, ends every session, closes every socket with 4452, many not all at once, then stops listening. Ends in bounded time; call it once. */
  close(): Promise<void>;
}

/**
 * Starts a gateway and listens.
 * @throws ConfigError what `checkConfig` refuses
 */
export async function startGateway({ config, livekit, log: full, clock = systemClock, ...given }: GatewayParts): Promise<Gateway> {
  const limitedLog = new LimitedLog(full, clock);
  const { log } = limitedLog;
  const settings = runtimeConfig(config);
  const nodeId = uuid();
  let isDraining = false;
  const draining = () => isDraining;

  const checkWorkspace = await workspacesOf(config);
  const auth = given.auth ?? (await authOf(config, { clock, log }, livekit.apiSecret));
  let own: { address: string; port: number } | undefined;
  const outbound = outboundOf(config, (address, port) => own !== undefined && own.port === port && isBoundAt(address, own.address));
  const storageType = storageTypeOf(config);
  const storageHealth = new StorageHealth(log, clock);
  // nothing of this process's own memory can be out of reach
  const isWatched = storageType !== 'memory';
  const store = await storeOf(config, clock, log, isWatched ? storageHealth : undefined);
  const { tls: files } = settings.listen;
  const pair = await tlsOf(config);
  const listener = await listen({ ...settings.listen, tls: files && pair && { files, pair }, clock, log }).catch(
    async (error: NodeJS.ErrnoException) => {
      await store.close();
      throw cannotListen(config, error);
    },
  );
  own = { address: listener.address, port: listener.port };
  const stopWatchingDescriptors = watchDescriptors(clock, log);
  const admit = admission({
    ...settings.admission,
    authIsSet: config.auth.mode !== undefined,
    authenticate: given.authenticate ?? auth.authenticate,
  });

  const name = gatewayName(config, listener.port);
  const names = {
    serverUrl: settingName(config, 'livekit.server_url'),
    apiKey: settingName(config, 'livekit.api_key'),
    apiSecret: settingName(config, 'livekit.api_secret'),
  };
  const rooms = given.rooms ?? new LiveKitRooms({ ...livekit, names, publicUrl: config.livekit.public_url, gatewayName: name }, clock, log);
  const { timeouts } = settings;
  const sessions = new Sessions({ store, rooms, offers: () => dispatcher, clock, log, sessionLog: full, timeouts });
  const lookMs = () => (store.shared && !nodes?.isAlone ? noticedMs : undefined);
  const dispatcher: Dispatcher = new Dispatcher({ sessions, rooms, clock, log, nodeId, maxServices: settings.maxServices, lookMs });
  const registrations = new Registrations({ dispatcher, sessions, clock, log, nodeId });
  const reports = new Reports({ sessions, dispatcher, nodeId });
  const reconciler = new Reconciler({ sessions, rooms, clock, log, lostAfterMs: settings.lostAfterMs });
  const leftovers = new Leftovers({ rooms, sessions, store, clock, log, gatewayName: name });
  const { microservices: paths } = config;
  const probes = new Probes({ registry: dispatcher.registry, registrations, clock });
  const shutdown = new Shutdown(sessions, nodeId, store.shared);
  // a LiveKit that is set but wrong is reported in the log before the first session asks for it
  void rooms.ping();

  const operations = new Operations({ sessions, store, rooms, clock });
  const openings = new Openings({
    sessions,
    store,
    rooms,
    offers: dispatcher,
    checkWorkspace,
    draining,
    nodeId,
    exactRoomNames: config.livekit.exact_room_names,
    defaults: settings.defaults,
  });

  const turn = new Turn();
  const feeds = new Feeds(store, turn, sessions);
  const holders = new Holders({ sessions, log, nodeId });
  const domain = { openings, operations, sessions, store, dispatcher, registrations, reports, clock };
  const reach = { ...domain, feeds, rooms, holders, log, nodeId, auth };
  const sockets = new SocketServer({
    turn,
    registrations,
    holders,
    admit,
    authMethods: auth.methods,
    onClosed: given.onClosed,
    clock,
    log,
    version,
    nodeId,
    limits: settings.sockets,
    handlers: handlers(reach),
  });

  const remote = store.shared ? new RemoteCommits({ store, sessions, log }) : undefined;
  if (remote) sessions.startFrom((id) => remote.last(id));
  const nodes = isWatched ? new Nodes({ nodeId, store, sessions, remote, health: storageHealth, clock, log }) : undefined;
  // on shared storage there may be sessions already
  await nodes?.round();

  const holds = () => ({ sockets: sockets.size, live_sessions: holders.size });
  const readiness = new Readiness({ rooms, store, storageHealth, storageType, clock, draining, holds });
  const { maxBodyBytes, maxWaitMs, answerBytesPerSecond } = settings;
  const budget = new Budget({ turn, clock, answerBytesPerSecond });
  const overHttp = httpLinks(paths, outbound);
  const linkTo = linkBy({ http: overHttp, https: overHttp });
  const ongoing = new Ongoing(clock, auth);
  const recheck = () => {
    ongoing.recheck();
    // a service that does not connect has nothing else to be closed
    if (auth.knows) registrations.deregisterStrangers(auth.knows);
    return sockets.recheck((principal) => auth.isStillGood?.(principal) ?? true);
  };
  const reloadKeys = keysReloader({ config, readConfig: given.readConfig ?? (() => config), auth, recheck, log });
  const rest = endpoints({ ...domain, linkTo, version, maxWaitMs, holds, readiness, reloadKeys });
  const upgrades = new Upgrades({ '/ws': (request, socket, head) => sockets.upgrade(request, socket, head) }, log);
  const app = restApp({ admit, clock, log, maxBodyBytes, budget, ongoing, endpoints: rest, socketPaths: upgrades.paths });
  const ring = (room: string) => {
    readiness.webhookCame();
    reconciler.ring(room);
  };
  webhook(app, { ...livekit, ring });
  documents(app, version);
  const transports: Transport[] = [sockets];
  for (const start of given.transports ?? []) transports.push(await start({ ...reach, admit }));
  listener.open({ request: requestListener(app, clock), upgrade: upgrades.take });

  return {
    url: localUrl({ host: config.server.host, port: listener.port, isTls: settings.listen.tls !== undefined }),
    holders,
    holds: () => ({ ...holds(), watched_rooms: reconciler.size, waiting: dispatcher.waiting }),
    async close() {
      isDraining = true;
      const { drainMs } = settings;
      // clients learn first that they will have to reconnect, and hear how their sessions end while they are connected
      await Promise.all(transports.map((transport) => transport.drain(drainMs)));
      // ending a session takes rooms, services and the storage: all of them still run
      await shutdown.endAll(drainMs);
      // each socket that ends is one more commit: what its session becomes on shared storage is decided by that
      await Promise.all(transports.map((transport) => transport.close(drainMs / 2)));
      // nothing comes in but by REST now; what looks for work by itself stops before what it works with
      reconciler.close();
      leftovers.close();
      remote?.close();
      probes.close();
      dispatcher.close();
      sessions.close();
      // REST answered until here: a load balancer saw /ready say draining, and waiting calls heard how their sessions ended
      await listener.close();
      // calls to services under way, as a last LeaveRoomRequest, have had their time
      await outbound.close();
      // this node deregisters through the storage: it is the last to use it
      await nodes?.close();
      await store.close();
      stopWatchingDescriptors();
      // the counts of the lines that the stop itself caused are written as well
      limitedLog.close();
    },
  };
}
