import { ConfigError } from './config.ts';

const askMs = 10_000;

export interface AskerParts {
  /** Of the gateway's REST API. */
  url: string;
  /** The file of the gateway's own certificate; absent: its name must be that of its certificate, as for any other server. */
  certificate?: string | undefined;
  /** How this program may say who it is: the first that is not answered with 401 counts. */
  candidates: readonly Record<string, string>[];
}

/** Calls a running gateway and gives its answer. `path`: below /api/v1. @throws ConfigError it does not answer, or refuses: the message is one line */
export type Asker = (path: string, method?: 'GET' | 'POST') => Promise<Record<string, unknown>>;

export function asker({ url, certificate, candidates }: AskerParts): Asker {
  let [headers = {}, ...others] = candidates;
  return async (path, method = 'GET') => {
    // a dropped connection is waited for by timers that do not keep the process alive
    const awake = setTimeout(() => {}, 2 * askMs);
    try {
      for (;;) {
        const { status, body } = await call(`${url}/api/v1/${path}`, { method, headers, signal: AbortSignal.timeout(askMs) });
        if (status < 400) return body;
        const [next, ...rest] = others;
        if (status !== 401 || next === undefined) throw new ConfigError(`--url ${url}: ${body.message}`);
        [headers, others] = [next, rest];
      }
    } finally {
      clearTimeout(awake);
    }
  };

  async function call(at: string, options: { method: string; headers: Record<string, string>; signal: AbortSignal }) {
    const asked = certificate === undefined ? fetch(at, options) : (await import('./pinned.ts')).fetchPinned(certificate, at, options);
    const response = await asked.catch((error: Error) => {
      const { code, message } = (error.cause ?? error) as NodeJS.ErrnoException;
      throw new ConfigError(`no gateway answers at ${url} (${code ?? message}): start it, or name it with --url`);
    });
    const body: unknown = await response.json().catch(() => undefined);
    if (typeof body !== 'object' || body === null) throw new ConfigError(`--url ${url}: the server there is not a session gateway`);
    return { status: response.status, body: body as Record<string, unknown> };
  }
}
