import type { IncomingMessage } from 'node:http';
import { BlockList } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Logger } from 'pino';
import { addNetwork, isIn, unported } from '../addresses.ts';

type Request = Pick<IncomingMessage, 'headers' | 'socket'>;

/** Who sends a request. */
export interface Sender {
  address: string | undefined;
  /** Undefined: not known; a proxy that nobody has told the gateway of may serve TLS. */
  protocol: 'http' | 'https' | undefined;
}

/** Those for whom a trusted proxy speaks. */
const behindProxies = new WeakMap<Request, Sender>();

/** Who sends a request, as far as the gateway believes it: the peer, or the one for whom a trusted proxy speaks. */
export const senderOf = (request: Request): Sender =>
  behindProxies.get(request) ?? {
    address: request.socket.remoteAddress,
    protocol: (request.socket as TLSSocket).encrypted ? 'https' : undefined,
  };

/** Returns what is called once with each request, before anybody asks who sends it. @param trusted networks of proxies; what others say of senders is not read */
export function believeProxies(trusted: readonly string[], log: Logger): (request: Request) => void {
  if (trusted.length === 0) return () => {};
  const networks = new BlockList();
  for (const entry of trusted) addNetwork(networks, entry);
  const isTrusted = (address: string) => isIn(networks, address);
  let hasWarned = false;
  return (request) => {
    const { headers } = request;
    const proxy = request.socket.remoteAddress;
    if (proxy === undefined || !isTrusted(proxy)) return;
    const { 'x-forwarded-for': addresses, 'x-forwarded-proto': protocols, forwarded } = headers as Record<string, string | undefined>;
    const chains = [addresses?.split(','), forwarded?.split(',').map(forOf)].filter((chain) => chain !== undefined);
    const [client = proxy, ...others] = chains.map((chain) => clientIn(chain, isTrusted));
    // a proxy that writes one of the two headers may pass the client's own other one on
    const isClear = client !== 'unknown' && others.every((other) => other === client);
    if (!isClear && !hasWarned) {
      hasWarned = true;
      const reason =
        client === 'unknown' ? 'what the proxy added is not an address' : 'X-Forwarded-For and Forwarded name different clients';
      log.warn({ proxy, reason }, "a trusted proxy does not say who the client is: the proxy's own address counts");
    }
    const protocol = protocols?.split(',').at(-1)?.trim();
    behindProxies.set(request, {
      address: isClear ? client : proxy,
      protocol: protocol === 'https' || protocol === 'http' ? protocol : senderOf(request).protocol,
    });
  };
}

/** The rightmost address that is not a trusted proxy's: each proxy adds whom it hears at the end, and what stands before that the client made up. */
function clientIn(chain: readonly string[], isTrusted: (address: string) => boolean): string {
  let client = 'unknown';
  for (const entry of [...chain].reverse()) {
    client = unported(entry.trim()) ?? 'unknown';
    if (client === 'unknown' || !isTrusted(client)) break;
  }
  return client;
}

/** The `for` of an element of Forwarded (RFC 7239, 4). */
const forOf = (element: string) => /(?:^|;)\s*for=(?:"([^"]*)"|([^";]*))/i.exec(element)?.slice(1).join('') ?? '';
