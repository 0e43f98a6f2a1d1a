import type { Logger } from 'pino';
import { type Clock, withTimeLimit } from '../clock.ts';
import type { Reach, RoomsError } from '../sessions/ports.ts';

/** How long LiveKit has to answer what its time is. */
const clockAnswerMs = 5_000;
/** Below this, clocks differ by what the answer took and by its full seconds. */
const sameClockMs = 5_000;

interface HealthParts {
  /** http or https. */
  url: string;
  clock: Clock;
  log: Logger;
  /** Whether there is to be a LiveKit: else its absence is nothing to speak of until one has answered. */
  expected: boolean;
}

/** Knows whether LiveKit serves the gateway, and logs one line when it stops to and one when it does again. */
export class Health {
  readonly reach: Reach = { ever: false, downSince: undefined };
  readonly #parts: HealthParts;
  /** What was said last: undefined, that all is well. */
  #trouble: RoomsError['kind'] | undefined;

  constructor(parts: HealthParts) {
    this.#parts = parts;
  }

  /** LiveKit did what it was asked for, or refused that alone. */
  answered(): void {
    this.#reached();
    if (this.#trouble === undefined) return;
    this.#trouble = undefined;
    this.#parts.log.info('LiveKit answers again');
  }

  failed(error: RoomsError): void {
    const { kind } = error;
    if (kind === 'unauthorized') this.#reached();
    else if (kind === 'unreachable') this.reach.downSince ??= this.#parts.clock.now();
    else return this.answered();
    if (kind === this.#trouble || !(this.#parts.expected || this.reach.ever)) return;
    this.#trouble = kind;
    if (kind === 'unauthorized') void this.#sayUnauthorized(error.message);
    else this.#parts.log.warn({ reason: error.message }, 'LiveKit is unreachable');
  }

  #reached(): void {
    this.reach.ever = true;
    this.reach.downSince = undefined;
  }

  /** Cannot reject. */
  async #sayUnauthorized(reason: string): Promise<void> {
    const { log } = this.#parts;
    const aheadMs = await this.#aheadMs();
    const clock =
      aheadMs === undefined || Math.abs(aheadMs) < sameClockMs
        ? {}
        : { clock: `this machine's clock is ${Math.round(Math.abs(aheadMs) / 1_000)} s ${aheadMs > 0 ? 'ahead of' : 'behind'} LiveKit's` };
    log.warn({ reason, ...clock }, 'LiveKit refuses the gateway');
  }

  /** How far this machine's clock, which signs the tokens, is ahead of LiveKit's; undefined: LiveKit does not say. */
  async #aheadMs(): Promise<number | undefined> {
    try {
      const ask = (signal: AbortSignal) => fetch(this.#parts.url, { method: 'HEAD', redirect: 'manual', signal });
      const response = await withTimeLimit(clockAnswerMs, ask);
      const ahead = Date.now() - Date.parse(response.headers.get('date') ?? '');
      return Number.isNaN(ahead) ? undefined : ahead;
    } catch {
      return undefined;
    }
  }
}
