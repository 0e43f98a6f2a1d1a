import { challenges, saidOf } from '../auth/authenticator.ts';
import type { Authenticator, Principal } from '../auth/principal.ts';
import type { Clock } from '../clock.ts';
import { GatewayError } from '../errors.ts';

const lookMs = 1_000;

/** The credential that a call came with is no longer good. */
export class CredentialOver extends GatewayError {
  /** For WWW-Authenticate. */
  readonly challenge = challenges.invalid;

  constructor(fault: 'invalid' | 'expired') {
    super('UNAUTHENTICATED', saidOf[fault]);
  }
}

/** The calls under way: each ends with the credential it came with. */
export class Ongoing {
  readonly #calls = new Map<AbortController, Principal>();
  readonly #clock: Clock;
  readonly #isStillGood: NonNullable<Authenticator['isStillGood']>;
  #stop: (() => void) | undefined;

  constructor(clock: Clock, { isStillGood = () => true }: Pick<Authenticator, 'isStillGood'>) {
    this.#clock = clock;
    this.#isStillGood = isStillGood;
  }

  /**
   * @param gone its sender has stopped waiting
   * @param answer is told by its signal to stop waiting
   * @throws CredentialOver what it did may have had its effect, and nothing of it is told
   */
  async run<T>(principal: Principal, gone: AbortSignal, answer: (gone: AbortSignal) => T | Promise<T>): Promise<T> {
    const over = this.#faultOf(principal);
    if (over) throw over;
    const call = new AbortController();
    this.#calls.set(call, principal);
    this.#stop ??= this.#clock.every(lookMs, () => this.recheck());
    try {
      const answered = await answer(AbortSignal.any([gone, call.signal]));
      call.signal.throwIfAborted();
      return answered;
    } finally {
      this.#calls.delete(call);
      if (this.#calls.size === 0) {
        this.#stop?.();
        this.#stop = undefined;
      }
    }
  }

  /** Ends those whose credential is over. */
  recheck(): void {
    for (const [call, principal] of this.#calls) {
      const over = this.#faultOf(principal);
      if (over) call.abort(over);
    }
  }

  #faultOf(principal: Principal): CredentialOver | undefined {
    if (principal.expiresAt !== undefined && this.#clock.now() >= principal.expiresAt) return new CredentialOver('expired');
    return this.#isStillGood(principal) ? undefined : new CredentialOver('invalid');
  }
}
