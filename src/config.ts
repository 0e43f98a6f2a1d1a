import { hostname } from 'node:os';
import { z } from 'zod';
import { defaultTtlHours } from '../protocol/times.ts';
import { type AuthModeName, authModes } from './auth/modes.ts';
import type { AuthMode } from './auth/principal.ts';
import {
  apiKey,
  count,
  fieldsOf,
  host,
  hostNames,
  list,
  liveKitServerUrl,
  liveKitUrl,
  networks,
  number,
  origins,
  path,
  port,
  seconds,
  yes,
} from './config-values.ts';
import { httpCommands } from './services/links.ts';

const level = z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']);

/** Where below its endpoint a service takes each command. */
const commandPaths = Object.fromEntries(
  Object.values(httpCommands).map(({ setting, path: usual, about }) => [setting, path.default(usual).describe(about)]),
) as Record<(typeof httpCommands)[keyof typeof httpCommands]['setting'], z.ZodDefault<typeof path>>;

/** Every setting, with its default and its sentence. A key's environment name and flag are made from its path. */
export const configSchema = z.object({
  server: z.object({
    host: host.default('127.0.0.1').describe('Address to listen on'),
    port: port.default(8080).describe('Port for REST and /ws; 0: any free port'),
    allowed_origins: origins
      .default([])
      .describe('Origins of pages that may connect, besides loopback pages on a loopback gateway; comma-separated'),
    allowed_hosts: hostNames
      .default([])
      .describe(
        'Public host names of the gateway, comma-separated; while nothing authenticates, requests for others are refused (prevents DNS rebinding)',
      ),
    trusted_proxies: networks
      .default([])
      .describe(
        'Networks and addresses of proxies, comma-separated; the client of a request from there is read from X-Forwarded-For or Forwarded, and its protocol from X-Forwarded-Proto',
      ),
    tls_cert: z
      .string()
      .min(1)
      .optional()
      .describe(
        'PEM file of the certificate with its chain: serves https and wss only; read again when it changes; set together with tls_key',
      ),
    tls_key: z.string().min(1).optional().describe('PEM file of its private key, without a passphrase'),
    keep_alive_s: seconds(1, 3_600)
      .default(75)
      .describe('Seconds an idle HTTP connection is kept open; must be longer than in a proxy in front'),
    max_wait_s: seconds(1, 3_600)
      .default(55)
      .describe('Seconds a REST call waits at most for a session to become ready; must be shorter than the timeout of a proxy in front'),
    drain_s: seconds(0, 600).default(10).describe('Seconds a shutdown may take to end the sessions'),
    workers: count(1).default(1).describe('Has no effect: a gateway is one process; start several that share a Redis or PostgreSQL'),
    max_connections: count(1).default(50_000).describe('Largest number of concurrent sockets'),
  }),
  auth: z.object({
    mode: z
      .enum(Object.keys(authModes) as [AuthModeName])
      .optional()
      .describe(
        Object.values<AuthMode>(authModes)
          .map(({ about }) => about)
          .join('. '),
      ),
    // each mode knows its own type
    ...(Object.assign({}, ...Object.values<AuthMode>(authModes).map((mode) => mode.settings)) as object),
  }),
  livekit: z.object({
    server_url: liveKitServerUrl.optional().describe('ws, wss, http or https; if unset, one on this machine is looked for'),
    public_url: liveKitUrl.optional().describe('Address for clients, if it differs from server_url'),
    api_key: apiKey.optional().describe('Default, on this machine only: devkey; set together with api_secret'),
    api_secret: apiKey.optional().describe('Default, on this machine only: secret'),
    mode: z
      .enum(['create', 'on_join'])
      .optional()
      .describe(
        'create: the gateway creates rooms. on_join: LiveKit creates a room when somebody joins. If unset: create where a LiveKit is set or found',
      ),
    exact_room_names: yes
      .default(false)
      .describe(
        'Use a chosen room_name unchanged as the name of the LiveKit room, for SIP rules, egress by name and rooms created elsewhere',
      ),
    lost_after_s: seconds(1, 86_400).default(60).describe('Seconds LiveKit may be unreachable before sessions end'),
  }),
  storage: z.object({
    url: z
      .string()
      .optional()
      .describe('Where sessions live: memory:, redis://..., rediss://..., postgres://..., or the scheme of your own provider'),
    storage_type: z
      .string()
      .min(1)
      .optional()
      .describe('Storage type, if not given by url: memory, redis, postgres, or the name of your own provider'),
    connection_string: z.string().optional().describe('Address of the storage of that type; memory needs none'),
    key_prefix: z.string().max(64).default('session:').describe('Prefix of every key, so that deployments can share a storage'),
    timeout_s: seconds(0.1, 60).default(3).describe('Time limit for one storage call, in seconds'),
    providers: list.default([]).describe('Modules that register your own storage providers; comma-separated'),
  }),
  gateway: z.object({
    name: z
      .string()
      .min(1)
      .max(128)
      .optional()
      .describe(
        'Marks the rooms of this deployment; default: hostname:port. Set it where the host name changes, for example in containers',
      ),
  }),
  workspace: z.object({
    roots: list
      .default(['.'])
      .describe(
        'Directories that may contain a workspace_dir, comma-separated; default: the directory the gateway was started in. {user} in one stands for the user: with auth.mode = "required" users and devices have those alone',
      ),
  }),
  microservices: z.object({
    registration_timeout: seconds(1, 3_600)
      .default(30)
      .describe('Time limit in seconds for a service required by id to register; for a selector join_timeout applies'),
    join_timeout: seconds(1, 3_600).default(60).describe('Time limit in seconds for every required service to become ready'),
    allowed_networks: list
      .optional()
      .describe(
        'Networks and host names of HTTP services, comma-separated; default: 127.0.0.0/8 and ::1 while the gateway is bound to loopback, else none. The address connected to is checked; a listed host name may resolve to any address',
      ),
    max_calls: count(1)
      .default(64)
      .describe('Concurrent calls to HTTP services, beyond one for each endpoint; further ones wait, and endpoints take turns'),
    max_calls_per_service: count(1).default(8).describe('Concurrent calls to one service'),
    ...commandPaths,
    health_path: path.default('/health').describe("Path, below a service's endpoint, of its health check"),
  }),
  session: z.object({
    default_expiry: number(1, 2_592_000).optional().describe('Session lifetime in seconds; overrides ttl_hours'),
    ttl_hours: number(0.001, 720).default(defaultTtlHours).describe('Session lifetime in hours, where its request does not set one'),
  }),
  limits: z.object({
    frame_bytes: count(256).default(65_536).describe('Largest frame accepted from a peer'),
    body_bytes: count(1_024).default(65_536).describe('Largest body accepted in a REST request'),
    buffered_bytes: count(1_024)
      .default(262_144)
      .describe('Outgoing buffer per peer in bytes; above it the gateway stops reading from that peer'),
    slow_reader_s: seconds(1, 600).default(10).describe('Disconnect a peer that has read nothing from a full buffer for this many seconds'),
    first_frame_s: seconds(1, 3_600).default(300).describe('Time limit in seconds for the first valid message on a socket'),
    messages_per_second: count(1).default(500).describe('Messages per second and socket'),
    message_burst: count(1).default(1_000).describe('Messages a socket may send in one burst'),
    frames_per_second: count(1)
      .default(2_000)
      .describe('WebSocket frames of every kind per second and socket: messages, fragments, pings, pongs'),
    bytes_per_second: count(1_024).default(4_000_000).describe('Bytes of incoming frames per second and socket'),
    answer_bytes_per_second: count(1_024)
      .default(8_000_000)
      .describe('Bytes of answers per second and socket, or HTTP connection; further requests wait, or get 429 over REST'),
    fragments: count(1).default(64).describe('Largest number of fragments in one message'),
    services: count(1)
      .default(1_024)
      .describe('Largest number of registered services; a disconnected one counts for the 5 min in which it may return'),
    messages_per_session: count(1).default(10_000).describe('Messages stored per session'),
    upgrades_per_second: count(1).default(2_000).describe('New sockets per second, and in one burst; others get HTTP 503 with Retry-After'),
    refused_in_a_row: count(1).default(20).describe('Consecutive refused frames before the socket is closed'),
  }),
  heartbeat: z.object({
    client_s: seconds(1, 600).default(25).describe('Seconds of silence after which a client is pinged'),
    service_s: seconds(1, 600).default(10).describe('Seconds of silence after which a service is pinged'),
    timeout_s: seconds(1, 600).default(10).describe('Time limit in seconds for the answer to a ping'),
  }),
  logging: z.object({
    level: level.default('info').describe('fatal, error, warn, info, debug, trace or silent'),
    format: z.enum(['json', 'pretty']).optional().describe('Default: pretty on a terminal, else json'),
  }),
  vector: z.object({
    log_enabled: yes.default(false).describe('Send the log to Vector'),
    log_endpoint: z
      .url({ protocol: /^https?$/, error: 'must be an http or https URL' })
      .optional()
      .describe("Vector's address"),
  }),
});
export type Config = z.output<typeof configSchema>;

/** One setting: where it stands, what its environment variable and flag are called, and what it does. */
export interface Setting {
  section: string;
  key: string;
  env: string;
  /** Further environment variables that set it, weaker than `env`. */
  aliases: readonly string[];
  flag: string;
  about: string;
  schema: z.ZodType;
}

const aliases: Record<string, readonly string[]> = {
  // as LiveKit's own programs call it
  'livekit.server_url': ['LIVEKIT_URL'],
  'logging.level': ['LOG_LEVEL', 'RUST_LOG'],
  'storage.key_prefix': ['SESSION_KEY_PREFIX'],
};
/** Settings that are masked where they are printed. */
export const secrets = new Set([
  'livekit.api_secret',
  'storage.connection_string',
  'storage.url',
  ...Object.values<AuthMode>(authModes).flatMap((mode) => mode.secrets.map((key) => `auth.${key}`)),
]);

const everySetting: readonly Setting[] = Object.entries(configSchema.shape).flatMap(([section, { shape }]) =>
  Object.entries(shape).map(([key, schema]) => ({
    section,
    key,
    env: `${section}_${key}`.toUpperCase(),
    aliases: aliases[`${section}.${key}`] ?? [],
    flag: `--${section}-${key.replaceAll('_', '-')}`,
    about: (schema as z.ZodType).description ?? '',
    schema: schema as z.ZodType,
  })),
);

/** Every setting of one value, in the order of the schema. */
export const settings = everySetting.filter(({ schema }) => !fieldsOf(schema));

/** Lists of tables, as [[auth.keys]], with the fields of each table. Only files set them. */
export const tableSettings = everySetting.flatMap(({ section, key, about, schema }) => {
  const fields = fieldsOf(schema);
  return fields ? [{ section, key, about, fields }] : [];
});

/** The configuration cannot be used; the message is one line that says which setting and why. */
export class ConfigError extends Error {}

/** The mark of this deployment's rooms. `port`: as bound. */
export const gatewayName = (config: Config, port: number) => config.gateway.name ?? `${hostname()}:${port}`;
