import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { TLSSocket } from 'node:tls';
import { Agent, buildConnector, fetch } from 'undici';

/**
 * Asks whoever has the certificate in a file, under whatever name it is asked for: a gateway on this machine has the one of its public name.
 * Each call has a connection of its own.
 */
export async function fetchPinned(
  file: string,
  url: string,
  options: { method: string; headers: Record<string, string>; signal: AbortSignal },
): Promise<Pick<Response, 'status' | 'json'>> {
  const own = new X509Certificate(await readFile(file));
  const connect = buildConnector({ rejectUnauthorized: false });
  const dispatcher = new Agent({
    keepAliveTimeout: 1,
    connect: (to, done) =>
      connect(to, (error, socket) => {
        if (error) return done(error, null);
        const theirs = (socket as TLSSocket).getPeerX509Certificate?.();
        if (theirs?.raw.equals(own.raw)) return done(null, socket);
        socket.destroy();
        done(new Error(`it has another certificate than ${file}`), null);
      }),
  });
  return fetch(url, { ...options, dispatcher });
}
