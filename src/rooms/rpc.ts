import { ServerError } from 'livekit-server-sdk';
import { withTimeLimit } from '../clock.ts';

/** LiveKit answered with a redirect, which is not followed: no token goes there. */
export class Redirected extends Error {
  readonly status: number;
  /** Where it leads, for the operator: without a query, a user or a password. */
  readonly target: string;

  constructor(status: number, location: string, asked: string) {
    super(`redirected (${status})`);
    this.status = status;
    const target = URL.canParse(location, asked) ? new URL(location, asked) : undefined;
    this.target = target ? `${target.origin}${target.pathname}` : 'which is no URL';
  }
}

/** One call of the room API after the other as the SDK makes them, but nowhere else than at the address that was set: no redirects, no other regions. */
export class RoomRpc {
  readonly #url: string;
  readonly #timeoutMs: number;

  /** `url`: ws, wss, http or https. */
  constructor(url: string, timeoutMs: number) {
    this.#url = url.replace(/^ws/, 'http');
    this.#timeoutMs = timeoutMs;
  }

  /** @throws ServerError it refused @throws Redirected @throws TypeError it cannot be reached @throws DOMException no answer in time */
  request(service: string, method: string, data: unknown, headers: Record<string, string>): Promise<unknown> {
    const url = new URL(`/twirp/livekit.${service}/${method}`, this.#url);
    return withTimeLimit(this.#timeoutMs, (signal) => this.#post(url, data, headers, signal));
  }

  async #post(url: URL, data: unknown, headers: Record<string, string>, signal: AbortSignal): Promise<unknown> {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(data),
      redirect: 'manual',
      signal,
    });
    if (response.ok) return response.json();
    if (response.status >= 300 && response.status < 400) {
      await response.body?.cancel();
      throw new Redirected(response.status, response.headers.get('location') ?? '', url.href);
    }
    const text = await response.text();
    const { msg = text, code } = fieldsOf(text);
    throw new ServerError(response.statusText, msg, response.status, code);
  }
}

/** What an error of the room API says; nothing where it is somebody else's. */
function fieldsOf(text: string): { msg?: string; code?: string } {
  try {
    const { msg, code } = Object(JSON.parse(text)) as Record<string, unknown>;
    return { ...(typeof msg === 'string' && { msg }), ...(typeof code === 'string' && { code }) };
  } catch {
    return {};
  }
}
