import { hostname } from 'node:os';
import { z } from 'zod';

const level = z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']);
const number = z.coerce.number({ error: 'must be a number' });
const port = number.int().min(0).max(65_535);
const seconds = (min: number, max: number) => number.min(min).max(max);
const count = (min: number) => number.int().min(min);
const list = z.union([
  z.array(z.string()),
  z.string().transform((text) =>
    text
      .split(',')
      .map((item) => item.trim())
      .filter(Boolean),
  ),
]);
const url = z.url({ protocol: /^(wss?|https?)$/ });

/** Every setting, with its default and its sentence. A key's environment name and flag are made from its path. */
export const configSchema = z.object({
  server: z.object({
    host: z.string().min(1).default('127.0.0.1').describe('Address to listen on'),
    port: port.default(8080).describe('Port for REST and /ws; 0: any free one'),
    allowed_origins: list
      .default([])
      .describe('Origins of pages that may connect, besides loopback pages on a loopback gateway; by commas'),
    drain_s: seconds(0, 600).default(10).describe('Seconds a stop may take to end the sessions'),
    max_connections: count(1).default(50_000).describe('Sockets held at once'),
  }),
  auth: z.object({
    mode: z
      .enum(['none'])
      .optional()
      .describe('none, written out: open to whoever reaches it. Absent: the same on loopback, else only peers of this machine'),
  }),
  livekit: z.object({
    server_url: url.optional().describe('ws, wss, http or https; absent: looked for on this machine'),
    public_url: url.optional().describe('Where clients reach it, if not at server_url'),
    api_key: z.string().min(1).optional().describe('Default: devkey'),
    api_secret: z.string().min(1).optional().describe('Default: secret'),
    mode: z
      .enum(['create', 'on_join'])
      .optional()
      .describe('Rooms are created, or come into being when somebody joins; absent: create where a LiveKit is set or found'),
    lost_after_s: seconds(1, 86_400).default(60).describe('Seconds LiveKit may be out of reach before sessions end'),
  }),
  gateway: z.object({
    name: z.string().min(1).max(128).optional().describe('Marks the rooms of this deployment; default: hostname:port'),
  }),
  workspace: z.object({
    roots: list.default(['.']).describe('Folders in which workspace_dir may lie; by commas; default: where the gateway was started'),
  }),
  microservices: z.object({
    registration_timeout: seconds(1, 3_600).default(30).describe('Seconds until a required service must have registered'),
    join_timeout: seconds(1, 3_600).default(60).describe('Seconds until every required service must be ready'),
  }),
  session: z.object({
    ttl_hours: number.min(0.001).max(720).default(24).describe('Hours a session lasts that asks for no time of its own'),
  }),
  limits: z.object({
    frame_bytes: count(256).default(65_536).describe('Largest frame a peer may send'),
    buffered_bytes: count(1_024).default(262_144).describe('Bytes that may wait for a peer before nothing more is read for it'),
    slow_reader_s: seconds(1, 600).default(10).describe('Seconds a peer may read nothing of what waits'),
    first_frame_s: seconds(1, 3_600).default(300).describe('Seconds until a socket must have sent an accepted frame'),
    messages_per_second: count(1).default(500).describe('Frames a socket may send each second'),
    message_burst: count(1).default(1_000).describe('Frames a socket may send at once'),
    refused_in_a_row: count(1).default(20).describe('Refused frames in a row before the socket is closed'),
  }),
  heartbeat: z.object({
    client_s: seconds(1, 600).default(25).describe('Seconds of silence after which a client is pinged'),
    service_s: seconds(1, 600).default(10).describe('Seconds of silence after which a service is pinged'),
    timeout_s: seconds(1, 600).default(10).describe('Seconds a pinged peer has to answer'),
  }),
  logging: z.object({
    level: level.default('info').describe('fatal, error, warn, info, debug, trace or silent'),
    format: z.enum(['json', 'pretty']).optional().describe('Default: pretty on a terminal, else json'),
  }),
});
export type Config = z.output<typeof configSchema>;

/** One setting: where it stands, what its environment variable and flag are called, and what it does. */
export interface Setting {
  path: [section: string, key: string];
  env: string;
  /** Further environment variables that set it, weaker than `env`. */
  aliases: readonly string[];
  flag: string;
  about: string;
}

const aliases: Record<string, readonly string[]> = { 'logging.level': ['LOG_LEVEL', 'RUST_LOG'] };

/** Every setting of the schema, in its order. */
export const settings: readonly Setting[] = Object.entries(configSchema.shape).flatMap(([section, schema]) =>
  Object.entries(schema.shape).map(([key, field]) => ({
    path: [section, key] as [string, string],
    env: `${section}_${key}`.toUpperCase(),
    aliases: aliases[`${section}.${key}`] ?? [],
    flag: `--${section}-${key.replaceAll('_', '-')}`,
    about: (field as z.ZodType).description ?? '',
  })),
);

/** The configuration cannot be used; the message is one line that says which setting and why. */
export class ConfigError extends Error {}

/**
 * Builds the configuration: defaults, then environment, then flags.
 * @param flags values by flag name without dashes in front, as in `server-port`
 * @throws ConfigError
 */
export function loadConfig(env: NodeJS.ProcessEnv, flags: Record<string, string> = {}): Config {
  const raw: Record<string, Record<string, string>> = {};
  const origin = new Map<string, string>();
  for (const section of Object.keys(configSchema.shape)) raw[section] = {};
  for (const { path, env: name, aliases, flag } of settings) {
    const [section, key] = path;
    const fromEnv = [...[...aliases].reverse(), name].filter((candidate) => env[candidate]);
    const flagged = flags[flag.slice(2)];
    const source = flagged !== undefined ? flag : fromEnv.at(-1);
    if (source === undefined) continue;
    const value = flagged ?? env[source] ?? '';
    (raw[section] as Record<string, string>)[key] = path.join('.') === 'logging.level' ? logLevel(value) : value;
    origin.set(path.join('.'), source);
  }
  const parsed = configSchema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path.slice(0, 2).join('.') ?? '';
  throw new ConfigError(`${origin.get(path) ?? path} (${path}): ${issue?.message}`);
}

/** RUST_LOG may name modules (`info,my_crate=debug`): the first bare level counts. */
const logLevel = (text: string) =>
  text
    .toLowerCase()
    .split(',')
    .find((part) => !part.includes('=')) ?? text;

/** The mark of this deployment's rooms. `port`: as bound. */
export const gatewayName = (config: Config, port: number) => config.gateway.name ?? `${hostname()}:${port}`;
