import { setTimeout as sleep } from 'node:timers/promises';
import { ClaimTaken } from '../sessions/ports.ts';
import type { Session } from '../sessions/record.ts';
import type { RedisLink } from './redis-link.ts';
import * as scripts from './redis-scripts.ts';

/** How often a claim is looked at whose holder is not yet to be seen; the waits grow from `firstWaitMs`, a third of a second in all. */
const maxLooks = 6;
const firstWaitMs = 5;
/** A commit refused because its claim was taken over stays refused this long. */
const denialMs = 86_400_000;

type Redis = Pick<RedisLink, 'run' | 'send'>;
type Held = ['new' | 'mine'] | ['held', id: string, version: string, commit_id: string, ageMs: number];

/**
 * Names that one session holds. They are taken before the commit that names them, in their own slot: one whose record does not
 * name it is of a commit under way, or was left behind. After `graceMs` it may be taken over, and the commit under way is refused.
 */
export class RedisClaims {
  readonly #prefix: string;
  readonly #graceMs: number;
  readonly #own: (id: string, part: string) => string;

  constructor(prefix: string, graceMs: number, own: (id: string, part: string) => string) {
    this.#prefix = prefix;
    this.#graceMs = graceMs;
    this.#own = own;
  }

  #key(claim: string): string {
    return `${this.#prefix}claim:${claim}`;
  }

  /** Takes all of a record's claims or none. @returns those it did not have before @throws ClaimTaken */
  async take(redis: Redis, session: Session): Promise<string[]> {
    const taken: string[] = [];
    try {
      // in one order everywhere: two that want the same two would refuse each other
      for (const claim of [...session.claims].sort()) if ((await this.#takeOne(redis, claim, session)) === 'new') taken.push(claim);
    } catch (error) {
      if (error instanceof ClaimTaken) await this.release(redis, taken, session.session_id, session.version, session.commit_id);
      throw error;
    }
    return taken;
  }

  async #takeOne(redis: Redis, claim: string, { session_id, version, commit_id }: Session): Promise<'new' | 'mine'> {
    const attempt = async (over: string[] = []) =>
      (await redis.run(
        scripts.take,
        [this.#key(claim)],
        [session_id, version, commit_id, ...over, ...Array(3 - over.length).fill('')],
      )) as Held;
    let held = await attempt();
    for (let looks = 0; held[0] === 'held'; looks++) {
      const [, id, ofVersion, commit, ageMs] = held;
      const isLeft = ageMs > this.#graceMs;
      const isNamed = await redis.run(
        scripts.deny,
        [this.#own(id, 'record'), this.#own(id, 'denied')],
        [claim, isLeft ? ofVersion : '', denialMs],
      );
      if (isNamed || (!isLeft && looks === maxLooks)) throw new ClaimTaken(claim);
      if (!isLeft) await sleep(firstWaitMs * 2 ** looks);
      held = await attempt(isLeft ? [id, ofVersion, commit] : []);
    }
    return held[0];
  }

  /** Frees claims of a session that it took up to `version`; with a commit id only those that this commit took. */
  async release(redis: Redis, claims: readonly string[], id: string, version: number, commit_id = ''): Promise<void> {
    await Promise.all(claims.map((claim) => redis.run(scripts.release, [this.#key(claim)], [id, version, commit_id])));
  }

  /** The session that holds a claim: its record names it. */
  async holder(redis: Redis, claim: string): Promise<string | undefined> {
    const id = await redis.send('HGET', this.#key(claim), 'id');
    if (typeof id !== 'string') return undefined;
    const isNamed = await redis.run(scripts.deny, [this.#own(id, 'record'), this.#own(id, 'denied')], [claim, '', denialMs]);
    return isNamed ? id : undefined;
  }
}
