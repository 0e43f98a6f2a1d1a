import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTHeaderParameters } from 'jose';
import type { Logger } from 'pino';
import { Agent, request } from 'undici';
import { type Clock, withTimeLimit } from '../clock.ts';

/** Keys that are older are fetched again before they are used. */
const maxAgeMs = 600_000;
/** While they cannot be fetched they are good for an hour more. */
const goodMs = maxAgeMs + 3_600_000;
/** They are fetched at most once in this time, whatever keys tokens name. */
const pauseMs = 30_000;
/** Where there are none yet: a gateway is often up before its identity provider. */
const firstPauseMs = 5_000;
const timeoutMs = 5_000;
const maxBytes = 65_536;

/** Whether a token is good cannot be found out now. */
export class KeysUnavailable extends Error {
  readonly retryAfterMs: number;

  constructor(retryAfterMs: number) {
    super('its keys cannot be fetched');
    this.retryAfterMs = retryAfterMs;
  }
}

/** The public keys of an identity provider, fetched when a token needs them. */
export class Jwks {
  readonly #url: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  #keys: { find: ReturnType<typeof createLocalJWKSet>; at: number } | undefined;
  #triedAt = Number.NEGATIVE_INFINITY;
  #fetching: Promise<void> | undefined;
  #isDown = false;

  constructor(url: string, clock: Clock, log: Logger) {
    this.#url = url;
    this.#clock = clock;
    this.#log = log;
  }

  /**
   * The key that a token's header names.
   * @param issuedAt when the token says that it was made, unchecked; epoch ms
   * @throws KeysUnavailable
   * @throws errors.JOSEError there is none, or several
   */
  async find(header: JWTHeaderParameters, issuedAt: number) {
    if (!this.#isNoOlderThan(maxAgeMs)) {
      const fetched = this.#fetch();
      // nobody waits each time for one that does not answer
      if (!this.#isDown || !this.#isNoOlderThan(goodMs)) await fetched;
    }
    try {
      return await this.#usable()(header);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
    }
    await this.#fetch();
    try {
      return await this.#usable()(header);
    } catch (error) {
      const mayBeNewer = this.#isDown || issuedAt > this.#triedAt;
      throw mayBeNewer && error instanceof errors.JWKSNoMatchingKey ? new KeysUnavailable(this.#pauseLeft()) : error;
    }
  }

  #usable() {
    if (!this.#keys || !this.#isNoOlderThan(goodMs)) throw new KeysUnavailable(this.#pauseLeft());
    return this.#keys.find;
  }

  #isNoOlderThan(ms: number): boolean {
    const age = this.#clock.now() - (this.#keys?.at ?? Number.NEGATIVE_INFINITY);
    // a clock that was set back says nothing of it
    return age >= 0 && age <= ms;
  }

  #pauseLeft(): number {
    const since = this.#clock.now() - this.#triedAt;
    return since < 0 ? 0 : Math.max(0, (this.#keys ? pauseMs : firstPauseMs) - since);
  }

  /** Fetches them, for all who ask meanwhile, unless that was tried a moment ago. Does not reject. */
  #fetch(): Promise<void> {
    if (!this.#fetching && this.#pauseLeft() === 0) {
      this.#triedAt = this.#clock.now();
      this.#fetching = this.#replace().finally(() => {
        this.#fetching = undefined;
      });
    }
    return this.#fetching ?? Promise.resolve();
  }

  async #replace(): Promise<void> {
    const at = this.#clock.now();
    const jwks_url = this.#url;
    try {
      this.#keys = { find: createLocalJWKSet(await get(jwks_url)), at };
      if (this.#isDown) this.#log.info({ jwks_url }, 'the keys of an identity provider can be fetched again');
      this.#isDown = false;
    } catch (error) {
      const why = (error instanceof Error ? error.message || (error as NodeJS.ErrnoException).code : String(error))?.slice(0, 200);
      if (!this.#isDown) this.#log.warn({ jwks_url, why }, 'the keys of an identity provider cannot be fetched');
      this.#isDown = true;
    }
  }
}

/** Follows no redirect: who may sign for the gateway is at this address or nowhere. */
async function get(url: string): Promise<JSONWebKeySet> {
  // asked so seldom that no connection is kept
  const dispatcher = new Agent({ maxResponseSize: maxBytes });
  try {
    return await withTimeLimit(timeoutMs, async (signal) => {
      const headers = { accept: 'application/json', 'accept-encoding': 'identity' };
      const { statusCode, body } = await request(url, { dispatcher, signal, headers });
      if (statusCode !== 200) throw new Error(`HTTP ${statusCode}`);
      return (await body.json()) as JSONWebKeySet;
    });
  } finally {
    await dispatcher.destroy();
  }
}
