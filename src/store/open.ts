import { pathToFileURL } from 'node:url';
import type { StoreFactory, StoreOptions, StoreProvider } from '../sessions/ports.ts';
import { addressFault } from './address.ts';
import { memoryStore } from './memory.ts';

/** Storage providers by name, which is also the scheme of their URLs. A driver is loaded when its storage is chosen. */
const factories = new Map<string, StoreFactory>([
  ['memory', async () => memoryStore()],
  ['redis', async (options) => (await import('./redis.ts')).redisStore(options)],
  ['postgres', async (options) => (await import('./postgres.ts')).postgresStore(options)],
]);
const builtIn: ReadonlyMap<string, StoreFactory> = new Map(factories);
const sameAs = new Map([
  ['rediss', 'redis'],
  ['redis-sentinel', 'redis'],
  ['redis-cluster', 'redis'],
  ['postgresql', 'postgres'],
]);
const providerOf = (name: string) => sameAs.get(name) ?? name;

/** Adds a storage provider, or takes the place of one. `name`: the storage_type, and the scheme of its URLs. */
export function registerStoreProvider(name: string, factory: StoreFactory): void {
  factories.set(name, factory);
}

/** Where sessions are to live, as configured. */
export interface StorageWish {
  url?: string | undefined;
  storage_type?: string | undefined;
  connection_string?: string | undefined;
  /** Modules that call `registerStoreProvider`, or export `register(registerStoreProvider)`. */
  providers?: readonly string[] | undefined;
}

/** A wish that cannot be fulfilled. */
export class WishError extends RangeError {
  /** What of the wish is wrong. */
  readonly key: keyof StorageWish;
  constructor(key: keyof StorageWish, message: string) {
    super(message);
    this.key = key;
  }
}

/** The URL that a wish comes to: its own, or type and connection string. @throws WishError they contradict each other */
export function storageUrl({ url, storage_type, connection_string }: StorageWish): string {
  if (storage_type === undefined) return url ?? connection_string ?? 'memory:';
  const given = connection_string ?? url ?? `${storage_type}:`;
  const named = nameOf(given);
  // a type may stand beside a URL that says the same
  if (named !== providerOf(storage_type) && factories.has(named))
    throw new WishError('storage_type', `${storage_type} beside the address of a ${named} storage`);
  return given;
}

/** Where the URL of `storageUrl` stands. */
const keyOfUrl = ({ url, connection_string }: StorageWish, typed: boolean) =>
  connection_string !== undefined && (typed || url === undefined) ? 'connection_string' : url === undefined ? 'storage_type' : 'url';

/** The provider's name in a URL. */
export const nameOf = (url: string) => providerOf(/^[a-z][a-z0-9+.-]*(?=:)/i.exec(url)?.[0] ?? '');

/**
 * Makes the provider that a wish asks for. Does not fail because the storage is down.
 * @throws WishError no provider of that name, an address that it cannot use, or a module that cannot be loaded
 */
export async function openStore(wish: StorageWish, options: Omit<StoreOptions, 'url'>): Promise<StoreProvider> {
  const { factory, url } = await chooseStore(wish);
  return factory({ ...options, url });
}

/** What a wish asks for, without making it. @throws WishError as `openStore` */
export async function chooseStore(wish: StorageWish): Promise<{ factory: StoreFactory; url: string }> {
  for (const name of wish.providers ?? []) await load(name);
  const url = storageUrl(wish);
  const name = wish.storage_type === undefined ? nameOf(url) : providerOf(wish.storage_type);
  const factory = factories.get(name);
  const typed = wish.storage_type !== undefined;
  if (!factory) {
    const known = [...factories.keys()].join(', ');
    throw new WishError(
      typed ? 'storage_type' : 'url',
      name ? `there is no storage named ${name}; known are ${known}` : `has no scheme: write redis://${url}, for one; known are ${known}`,
    );
  }
  // a provider that took the place of one of ours reads its addresses itself
  const fault = factory === builtIn.get(name) ? addressFault(name, url) : undefined;
  if (fault !== undefined) throw new WishError(keyOfUrl(wish, typed), fault);
  return { factory, url };
}

async function load(name: string): Promise<void> {
  // a path is looked for where the gateway was started, a package as Node does
  const specifier = /^[./]/.test(name) ? new URL(name, pathToFileURL(`${process.cwd()}/`)).href : name;
  let module: { register?: (add: typeof registerStoreProvider) => void };
  try {
    module = await import(specifier);
  } catch (error) {
    throw new WishError('providers', `${name} cannot be loaded: ${error instanceof Error ? error.message : error}`);
  }
  module.register?.(registerStoreProvider);
}
