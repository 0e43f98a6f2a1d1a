import { Close, verdict } from '../../protocol/close.ts';
import { within } from './deadline.ts';
import { TokenError } from './errors.ts';

/** A credential, or a function that is asked for one before each connection, and again when an open connection's expires. */
export type Token = string | (() => string | Promise<string>);

/** As long as the gateway's own answer may take. */
const askMs = 10_000;
/** What can stand in a subprotocol (RFC 9110, 5.6.2), as long as the gateway takes. */
const sendable = /^[\w!#$%&'*+.^`|~-]{1,8192}$/;

/** The token of one connection after the other. No error has its text. */
export class Credential {
  readonly #token: Token;
  readonly #closed = new AbortController();
  #asked: Promise<string> | undefined;
  /** Closes with 4401 since a connection was accepted. */
  #refusals = 0;

  /** @throws TokenError a string that cannot be sent */
  constructor(token: Token) {
    this.#token = typeof token === 'function' ? token : checked(token);
  }

  /** A function may give another one. */
  get canChange(): boolean {
    return typeof this.#token === 'function';
  }

  /** The token to send now. A function that was asked and has not answered yet is not asked again. @throws TokenError */
  async ask(): Promise<string> {
    const token = this.#token;
    if (typeof token === 'string') return token;
    this.#asked ??= this.#ask(token).finally(() => {
      this.#asked = undefined;
    });
    return this.#asked;
  }

  async #ask(token: () => string | Promise<string>): Promise<string> {
    this.#closed.signal.throwIfAborted();
    const given = (async () => token())().catch((cause) => {
      throw new TokenError('the token function failed', { cause });
    });
    const onTimeout = () => new TokenError(`the token function gave nothing within ${askMs} ms`);
    return checked(await within(given, { timeoutMs: askMs, onTimeout, signal: this.#closed.signal }));
  }

  /** Something came from the gateway: the token is good. */
  accepted(): void {
    this.#refusals = 0;
  }

  /** What to do after this close code: a string stays what it is, a function may have a better one, once. */
  verdict(code: number): ReturnType<typeof verdict> {
    if (!this.canChange && code === Close.CredentialExpired.code) return 'stop';
    if (this.canChange && code === Close.Unauthenticated.code && ++this.#refusals === 1) return 'reconnect';
    return verdict(code);
  }

  /** Ends the wait for a function. */
  close(): void {
    this.#closed.abort();
  }
}

function checked(token: string): string {
  if (typeof token === 'string' && sendable.test(token)) return token;
  throw new TokenError(
    'the token must be 1 to 8,192 characters that a WebSocket subprotocol can have: letters, digits, -._~ and some more',
  );
}
