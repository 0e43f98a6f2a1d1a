import type { IncomingMessage } from 'node:http';
import { BlockList } from 'node:net';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');
loopback.addSubnet('::ffff:127.0.0.0', 104, 'ipv6');

/** Whether an address, as a socket names it, is this machine's own. */
export const isLoopback = (address: string) => loopback.check(address, address.includes(':') ? 'ipv6' : 'ipv4');

/** Whether a host, as a configuration names it, is bound to this machine alone. */
export const isLoopbackHost = (host: string) => host === 'localhost' || isLoopback(host.replace(/^\[|\]$/g, ''));

/** Where what listens on a host can be reached from this machine: the address that stands for all of them is none to connect to. */
export function localUrl(host: string, port: number): string {
  const reached = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${reached.includes(':') ? `[${reached}]` : reached}:${port}`;
}

export interface AdmissionConfig {
  host: string;
  /** Origins of pages that may connect, besides loopback pages on a gateway bound to loopback. */
  allowedOrigins: readonly string[];
  /** Whether the operator has said how peers authenticate; if not, a gateway open to the network serves only this machine. */
  authWrittenOut: boolean;
}

/** Decides who may talk to the gateway at all, before anything of theirs is read. @returns why not; undefined: they may */
export type Admission = (request: Pick<IncomingMessage, 'headers' | 'socket'>) => string | undefined;

const loopbackName = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;
const loopbackOrigin = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;

export function admission({ host, allowedOrigins, authWrittenOut }: AdmissionConfig): Admission {
  const boundToLoopback = isLoopbackHost(host);
  const protectedMode = !boundToLoopback && !authWrittenOut;
  const allowedHosts = new Set(allowedOrigins.map((origin) => origin.replace(/^https?:\/\//, '')));
  return ({ headers, socket }) => {
    if (protectedMode && !isLoopback(socket.remoteAddress ?? '')) {
      return 'protected mode: the gateway listens on the network without authentication. Set AUTH_MODE (none to leave it open on purpose), or SERVER_HOST=127.0.0.1';
    }
    // a name of somebody else's that leads here: its pages would be of the same origin as the gateway, and send no Origin
    const named = headers.host ?? '';
    if ((boundToLoopback || protectedMode) && !loopbackName.test(named) && !allowedHosts.has(named)) {
      return `the gateway may not be asked for as ${named.slice(0, 200)}: add its origin to server.allowed_origins`;
    }
    const { origin } = headers;
    if (origin === undefined || allowedOrigins.includes(origin) || (boundToLoopback && loopbackOrigin.test(origin))) return undefined;
    return `pages of ${origin.slice(0, 200)} may not connect: add the origin to server.allowed_origins`;
  };
}

/** What the log says of a request that is refused: without the query, which may hold a secret. */
export const askedFor = ({ method, url, headers: { origin, host }, socket }: IncomingMessage) => ({
  method,
  path: url?.split('?')[0]?.slice(0, 200),
  origin: origin?.slice(0, 200),
  host: host?.slice(0, 200),
  remoteAddress: socket.remoteAddress,
});
