import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { parseEnv } from 'node:util';
import { parse, stringify, TomlError } from 'smol-toml';
import { check } from '../protocol/check.ts';
import { nearest } from '../protocol/nearest.ts';
import { isLoopbackHost } from './addresses.ts';
import { authModeOf } from './auth/modes.ts';
import { type Config, ConfigError, configSchema, secrets, settings, tableSettings } from './config.ts';
import { ofKubernetes, straysOf } from './config-strays.ts';
import { plainText } from './config-values.ts';

/** A configuration file that was read. */
export interface ConfigFile {
  /** As it was named. */
  name: string;
  /** TOML. */
  text: string;
}

/** Of a configuration that was put together here: who set what, by path, and variables that look like settings and are none. */
const origins = new WeakMap<Config, { sources: ReadonlyMap<string, string>; strays: readonly string[]; files: readonly string[] }>();

/** The one line that says why a setting cannot be used, with what set it. `path`: as in server.port */
export const refuse = (config: Config, path: string, why: string) => new ConfigError(`${settingName(config, path)}: ${why}`);
const refusal = (source: string | undefined, path: string, why: string) => new ConfigError(`${named(source, path)}: ${why}`);
/** Where the files lie that a configuration was read from. */
export const configFolders = (config: Config) => (origins.get(config)?.files ?? []).map((name) => dirname(name));
/** A setting as whoever set it knows it: LIVEKIT_URL (livekit.server_url); one that nobody set by its path alone. */
export const settingName = (config: Config, path: string) => named(origins.get(config)?.sources.get(path), path);
const named = (source: string | undefined, path: string) => (source ? `${source} (${path})` : path);

/**
 * Builds the configuration: defaults, then files in their order, then environment, then flags.
 * @param flags values by flag name without dashes in front, as in `server-port`
 * @throws ConfigError
 */
export function loadConfig(env: NodeJS.ProcessEnv, flags: Record<string, string> = {}, files: readonly ConfigFile[] = []): Config {
  const raw: Record<string, Record<string, unknown>> = Object.fromEntries(Object.keys(configSchema.shape).map((section) => [section, {}]));
  const sources = new Map<string, string>();
  const set = (section: string, key: string, value: unknown, from: string) => {
    const path = `${section}.${key}`;
    raw[section] = { ...raw[section], [key]: plain(value, (fault) => refusal(from, path, fault)) };
    sources.set(path, from);
  };
  for (const file of files) for (const [section, key, value] of readToml(file)) set(section, key, value, file.name);
  const isSet = (name: string) => env[name]?.trim();
  for (const { section, key, env: name, aliases, flag } of settings) {
    // the strongest last
    const named = [...[...aliases].reverse(), name].findLast(isSet);
    if (named !== undefined) set(section, key, env[named], named);
    const flagged = flags[flag.slice(2)];
    if (flagged !== undefined) set(section, key, flagged, flag);
  }
  // alone it picks Redis; beside another choice of storage it is somebody else's
  const { url, storage_type, connection_string } = raw.storage ?? {};
  if (isSet('REDIS_URL') && url === undefined && connection_string === undefined && (storage_type ?? 'redis') === 'redis') {
    set('storage', 'url', env.REDIS_URL, 'REDIS_URL');
  }
  if (typeof raw.logging?.level === 'string') raw.logging.level = logLevel(raw.logging.level);
  const parsed = check(configSchema, raw);
  if (!parsed.success) {
    const [issue] = parsed.issues;
    const [section = '', key = '', index, ...field] = issue?.path.split('.') ?? [];
    const path = `${section}.${key}`;
    // in a list of tables it is said in which
    if (index !== undefined && tableSettings.some((table) => table.section === section && table.key === key))
      throw refusal(sources.get(path), path, `no. ${Number(index) + 1}: ${field.join('.')}: ${issue?.message}`);
    const isOfKubernetes = ofKubernetes('', String(raw[section]?.[key]));
    const why = `${issue?.message}${isOfKubernetes ? ' (set by Kubernetes for a Service of that name: enableServiceLinks: false)' : ''}`;
    throw refusal(sources.get(path), path, why);
  }
  const config = parsed.data;
  origins.set(config, { sources, strays: straysOf(env), files: files.map(({ name }) => name) });
  if (url !== undefined && connection_string !== undefined && url !== connection_string) {
    throw refuse(
      config,
      'storage.url',
      `only one of it and storage.connection_string (${sources.get('storage.connection_string')}) can be used`,
    );
  }
  refuseHalfAuth(config);
  refuseHalfTls(config);
  refuseDevKey(config);
  return config;
}

/** @throws ConfigError the mode of authentication needs a setting that nobody has set */
function refuseHalfAuth(config: Config): void {
  const { auth } = config;
  const { needs } = authModeOf(auth);
  const isSet = (key: string) => ((auth as Record<string, unknown>)[key] as { length?: number } | undefined)?.length ?? 0;
  if (needs.length === 0 || needs.some(isSet)) return;
  const isList = (key: string) => tableSettings.some((table) => table.section === 'auth' && table.key === key);
  const names = needs.map((key) => (isList(key) ? `[[auth.${key}]] in a file` : `auth.${key} (AUTH_${key.toUpperCase()})`));
  throw refuse(config, 'auth.mode', `${auth.mode} needs ${names.join(' or ')}, which is not set`);
}

/** @throws ConfigError */
function refuseHalfTls(config: Config): void {
  const { tls_cert, tls_key } = config.server;
  if ((tls_cert === undefined) === (tls_key === undefined)) return;
  const [set, missing] = tls_key === undefined ? ['tls_cert', 'tls_key'] : ['tls_key', 'tls_cert'];
  throw refuse(config, `server.${set}`, `is set without server.${missing} (SERVER_${missing?.toUpperCase()}): set both or neither`);
}

/** LiveKit's dev key, which counts where none is set, is known to everybody: it is good for one machine. @throws ConfigError it would be used beyond, or half of it */
function refuseDevKey(config: Config): void {
  const { livekit } = config;
  const [set, missing] = livekit.api_key === undefined ? (['api_secret', 'api_key'] as const) : (['api_key', 'api_secret'] as const);
  if (livekit[missing] !== undefined) return;
  if (livekit[set] !== undefined) {
    throw refuse(config, `livekit.${set}`, `is set without livekit.${missing} (LIVEKIT_${missing.toUpperCase()}): set both or neither`);
  }
  for (const key of ['server_url', 'public_url'] as const) {
    const url = livekit[key];
    if (url === undefined || isLoopbackHost(new URL(url).hostname)) continue;
    const why =
      "is not on this machine: set LIVEKIT_API_KEY and LIVEKIT_API_SECRET; the default is LiveKit's dev key, which everybody knows";
    throw refuse(config, `livekit.${key}`, why);
  }
}

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);

/** Text as it is meant, also inside a list or a table. */
function plain(value: unknown, failed: (fault: string) => ConfigError): unknown {
  if (Array.isArray(value)) return value.map((item) => plain(item, failed));
  if (isTable(value)) return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item, failed)]));
  if (typeof value !== 'string') return value;
  const result = plainText(value);
  if ('fault' in result) throw failed(result.fault);
  return result.text;
}

function* readToml({ name, text }: ConfigFile): Generator<[section: string, key: string, value: unknown]> {
  let tables: Record<string, unknown>;
  try {
    tables = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [why = ''] = error.message.replace('Invalid TOML document: ', '').split('\n');
    throw new ConfigError(`${name}:${error.line}:${error.column}: not TOML: ${why}`);
  }
  for (const [section, table] of Object.entries(tables)) {
    if (!Object.hasOwn(configSchema.shape, section)) {
      const homes = isTable(table) ? [] : homesOf(section);
      if (homes.length > 0)
        throw new ConfigError(`${name} (${section}): belongs below a line ${homes.map((home) => `[${home}]`).join(' or ')}`);
      throw unknown(name, section, nearest(section, [...Object.keys(configSchema.shape), ...settings.map(({ key }) => key)]));
    }
    if (!isTable(table)) throw new ConfigError(`${name} (${section}): must be a table`);
    const known = [...settings, ...tableSettings].filter((setting) => setting.section === section).map(({ key }) => key);
    for (const [key, value] of Object.entries(table)) {
      if (!known.includes(key)) {
        const [home] = homesOf(key);
        const paths = known.map((other) => `${section}.${other}`);
        throw unknown(name, `${section}.${key}`, home ? `${home}.${key}` : nearest(`${section}.${key}`, paths));
      }
      knowFields(name, section, key, value);
      yield [section, key, value];
    }
  }
}

/** @throws ConfigError a table of a list has a field that such tables do not have */
function knowFields(name: string, section: string, key: string, value: unknown): void {
  const list = tableSettings.find((table) => table.section === section && table.key === key);
  if (!list || !Array.isArray(value)) return;
  for (const [i, table] of value.entries()) {
    const field = isTable(table) ? Object.keys(table).find((field) => !Object.hasOwn(list.fields, field)) : undefined;
    if (field !== undefined) throw unknown(name, `${section}.${key} no. ${i + 1}: ${field}`, nearest(field, Object.keys(list.fields)));
  }
}

/** The sections that have a setting of this name. */
const homesOf = (key: string) => settings.filter((setting) => setting.key === key).map(({ section }) => section);

const unknown = (file: string, path: string, meant: string | undefined) =>
  new ConfigError(`${file} (${path}): there is no such setting${meant === undefined ? '' : `; did you mean ${meant}?`}`);

/** RUST_LOG may name modules (`info,my_crate=debug`): the first bare level counts. */
const logLevel = (text: string) =>
  text
    .toLowerCase()
    .split(',')
    .find((part) => !part.includes('=')) ?? text;

/** The configuration as TOML, its secrets masked. */
export const printConfig = (config: Config): string => stringify(masked(config, '') as Record<string, unknown>);

/** @param path where it stands, without the number in a list */
function masked(value: unknown, path: string): unknown {
  if (secrets.has(path)) return '***';
  if (Array.isArray(value)) return value.map((item) => masked(item, path));
  if (!isTable(value)) return value;
  const set = Object.entries(value).filter(([, item]) => item !== undefined);
  return Object.fromEntries(set.map(([key, item]) => [key, masked(item, path === '' ? key : `${path}.${key}`)]));
}

/** A container's id, or the end of a pod's name: gone with the container. */
const containerName = /^[0-9a-f]{12}$|-[a-z0-9]{6,10}-[bcdfghjklmnpqrstvwxz2456789]{5}$/;

/** What is set but does not have the effect it asks for, or is dangerous; one line each. `host`: this machine's name */
export function warnings(config: Config, host: string = hostname()): string[] {
  const { server, auth, vector, livekit, session, microservices, gateway } = config;
  const { sources, strays } = origins.get(config) ?? { sources: new Map<string, string>(), strays: [] };
  const outlivesUs = livekit.server_url !== undefined || livekit.api_key !== undefined;
  return [
    ...strays,
    ...(server.workers > 1
      ? [`server.workers=${server.workers} has no effect: a gateway is one process; start several that share a Redis or PostgreSQL`]
      : []),
    ...(vector.log_enabled ? ['VECTOR_LOG_ENABLED: the log is written to standard output only; let Vector read it there'] : []),
    ...(session.default_expiry !== undefined && sources.has('session.ttl_hours')
      ? ['session.ttl_hours has no effect: session.default_expiry overrides it']
      : []),
    ...(sources.has('microservices.registration_timeout') && microservices.registration_timeout > microservices.join_timeout
      ? ['microservices.registration_timeout has no effect: it is longer than microservices.join_timeout']
      : []),
    ...(auth.mode === undefined && !isLoopbackHost(server.host)
      ? [
          'protected mode: it listens on the network, but serves only this machine; set AUTH_MODE: required, or none to open it to everybody',
        ]
      : []),
    ...(auth.mode === 'none' ? ['AUTH_MODE=none: whoever reaches this address may do everything'] : []),
    ...(auth.mode === 'none' && !isLoopbackHost(server.host) && livekit.api_secret === undefined
      ? ['no livekit.api_secret: LiveKit is used on this machine with its dev key, and only programs of this machine can join its rooms']
      : []),
    ...(livekit.api_secret !== undefined && livekit.api_secret.length < 32
      ? ['livekit.api_secret is shorter than 32 characters: good for development only']
      : []),
    ...(gateway.name === undefined && outlivesUs && containerName.test(host)
      ? [
          `gateway.name is derived from the host name ${host}, which looks like a container's: a new container has another one, and rooms this one leaves behind are never deleted; set GATEWAY_NAME`,
        ]
      : []),
  ];
}

/** One line where a file of environment variables lies in the folder: it is not read, and somebody may count on it. `text`: its content. */
export function unreadEnvFile(text: string, env: NodeJS.ProcessEnv): string | undefined {
  const known = new Set(settings.flatMap((setting) => [setting.env, ...setting.aliases]));
  const names = Object.keys(parseEnv(text))
    .filter((name) => known.has(name) && !env[name])
    .sort();
  return names.length === 0
    ? undefined
    : `.env is not read, so these have no effect: ${names.join(', ')}; export them first: set -a; . ./.env; set +a`;
}

/** Where HTTP services may be: on this machine only where nobody else can register one. */
export const allowedNetworks = ({ server, microservices }: Config): readonly string[] =>
  microservices.allowed_networks ?? (isLoopbackHost(server.host) ? ['127.0.0.0/8', '::1'] : []);
