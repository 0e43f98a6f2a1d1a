import { once } from 'node:events';
import { createServer } from 'node:net';
import { type Logger, pino } from 'pino';
import { authModeOf } from './auth/modes.ts';
import { type Authenticator, type AuthParts, SettingFault } from './auth/principal.ts';
import { type Clock, systemClock } from './clock.ts';
import { type Config, ConfigError } from './config.ts';
import { allowedNetworks, configFolders, refuse } from './config-load.ts';
import { tlsFiles } from './config-runtime.ts';
import { guard } from './services/guard.ts';
import { Outbound } from './services/outbound.ts';
import type { SessionStore } from './sessions/ports.ts';
import type { StorageHealth } from './sessions/storage-health.ts';
import { chooseStore, nameOf, openStore, storageUrl, WishError } from './store/open.ts';
import { withVerbs } from './store/verbs.ts';
import { readTls, TlsError, type TlsPair } from './tls.ts';
import { workspaces } from './workspace.ts';

// What a configuration opens. What cannot be opened is refused with the line that names the setting and what set it.

/** The name of the chosen storage, as in `storage.storage_type`. */
export const storageTypeOf = ({ storage }: Config) => storage.storage_type ?? nameOf(storageUrl(storage));

/**
 * Says whether a gateway can be started with this configuration, without starting one. What it refuses is refused by a start with the same words.
 * @throws ConfigError
 * @throws PortInUse nothing else is wrong: somebody listens there now
 */
export async function checkConfig(config: Config): Promise<void> {
  await workspacesOf(config);
  await outboundOf(config).close();
  await tlsOf(config);
  await authOf(config, { clock: systemClock, log: pino({ enabled: false }) });
  await chooseStore(config.storage).catch((error) => {
    throw storageRefused(config, error);
  });
  const server = createServer().listen(config.server.port, config.server.host);
  await once(server, 'listening').catch((error) => {
    throw cannotListen(config, error);
  });
  await new Promise((closed) => server.close(closed));
}

/** The certificate and its key; undefined: none is set. @throws ConfigError */
export async function tlsOf(config: Config): Promise<TlsPair | undefined> {
  const files = tlsFiles(config.server);
  if (!files) return undefined;
  return readTls(files).catch((error) => {
    throw error instanceof TlsError ? refuse(config, `server.tls_${error.of}`, error.message) : error;
  });
}

/** How peers say who they are. `livekitSecret`: of the LiveKit in use, where it is not the configured one. @throws ConfigError */
export async function authOf(config: Config, parts: Omit<AuthParts, 'taken'>, livekitSecret?: string): Promise<Authenticator> {
  const taken = [config.livekit.api_secret, livekitSecret].filter((secret) => secret !== undefined);
  try {
    return await authModeOf(config.auth).start(config.auth, { ...parts, taken });
  } catch (error) {
    throw authRefused(config, error);
  }
}

/** What a mode says of its settings, as the line that names them. */
export const authRefused = (config: Config, error: unknown): unknown =>
  error instanceof SettingFault ? refuse(config, `auth.${error.setting}`, error.message) : error;

/** Another program listens there: the configuration may be right anyway. */
export class PortInUse extends ConfigError {}

/** What a failed `listen` says of the configuration. */
export function cannotListen(config: Config, { code }: NodeJS.ErrnoException): ConfigError {
  const { host, port } = config.server;
  const isAddress = code === 'ENOTFOUND' || code === 'EADDRNOTAVAIL' || code === 'EAI_AGAIN';
  const what = `cannot listen on ${host}:${port} (${code})`;
  const advice =
    code === 'EADDRINUSE'
      ? ': the port is in use, perhaps by another gateway; stop that one, or choose another port'
      : isAddress
        ? ': it is not an address of this machine'
        : '';
  const { message } = refuse(config, isAddress ? 'server.host' : 'server.port', `${what}${advice}`);
  return new (code === 'EADDRINUSE' ? PortInUse : ConfigError)(message);
}

/** The folders that sessions may name. @throws ConfigError */
export const workspacesOf = (config: Config) =>
  workspaces(config.workspace.roots, [process.cwd(), ...configFolders(config)]).catch((error: Error) => {
    throw refuse(config, 'workspace.roots', error.message);
  });

/** Opens the storage; its calls that fail are reported to `health`. @throws ConfigError */
export async function storeOf(config: Config, clock: Clock, log: Logger, health: StorageHealth | undefined): Promise<SessionStore> {
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

/** Calls to HTTP services. @param isOwn whether an address is the gateway's own @throws ConfigError */
export function outboundOf(config: Config, isOwn?: Parameters<typeof guard>[1]): Outbound {
  const { max_calls: all, max_calls_per_service: perService } = config.microservices;
  try {
    return new Outbound(guard(allowedNetworks(config), isOwn), { all, perService });
  } catch (error) {
    throw refuse(config, 'microservices.allowed_networks', error instanceof Error ? error.message : String(error));
  }
}
