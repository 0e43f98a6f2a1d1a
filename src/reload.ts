import type { Logger } from 'pino';
import { type Authenticator, SettingFault } from './auth/principal.ts';
import { type Config, ConfigError } from './config.ts';
import { GatewayError } from './errors.ts';

export interface ReloadParts {
  config: Config;
  /** The configuration as its files say it now. @throws ConfigError */
  readConfig(): Config;
  auth: Authenticator;
  /** Ends what principals and services have open that may no longer. @returns how many sockets it closed */
  recheck(): Promise<number>;
  log: Logger;
}

/**
 * Reads the keys of the configuration again, and ends what was opened with those that are gone or may do less. One reload after the other.
 * @throws GatewayError ILLEGAL_STATE the configuration cannot be used: nothing has changed
 */
export function keysReloader({ config, readConfig, auth, recheck, log }: ReloadParts): () => Promise<{ closed_sockets: number }> {
  const reload = async () => {
    if (!auth.replace) throw new GatewayError('ILLEGAL_STATE', 'nothing authenticates here: there are no keys to read');
    try {
      const now = readConfig();
      if (now.auth.mode !== config.auth.mode) throw new ConfigError('auth.mode has changed: that takes a restart');
      await auth.replace(now.auth);
    } catch (error) {
      if (!(error instanceof ConfigError || error instanceof SettingFault)) throw error;
      const why = error instanceof SettingFault ? `auth.${error.setting}: ${error.message}` : error.message;
      log.warn({ why }, 'the keys were not read again: the configuration cannot be used');
      throw new GatewayError(
        'ILLEGAL_STATE',
        'the configuration cannot be used, so the keys stay as they were; the log of the gateway says why',
      );
    }
    const closed_sockets = await recheck();
    log.info({ closed_sockets }, 'the keys were read again');
    return { closed_sockets };
  };
  let last: Promise<unknown> = Promise.resolve();
  return () => {
    const next = last.then(reload, reload);
    last = next.catch(() => {});
    return next;
  };
}
