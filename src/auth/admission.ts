import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { isLoopback, isLoopbackHost } from '../addresses.ts';
import { senderOf } from '../edge/sender.ts';
import type { Authenticate, NotAdmitted } from './principal.ts';

export interface AdmissionConfig {
  host: string;
  /** Origins of pages that may connect, besides loopback pages on a gateway bound to loopback, and its own. */
  allowedOrigins: readonly string[];
  /** Further names under which the gateway may be asked for. */
  allowedHosts: readonly string[];
  /** Whether the operator has set explicitly how peers authenticate; if not, only this machine is served. */
  authIsSet: boolean;
  /** Says as whom, of those who may. */
  authenticate: Authenticate;
}

/** Decides who may talk to the gateway at all, before anything of theirs is read, and then as whom. Does not reject. */
export type Admission = Authenticate;

const loopbackOrigin = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;
/** What reaches this machine in the address of a URL. 0.0.0.0 and [::] are how a server that listens everywhere is often asked for. */
const loopbackNames = ['localhost', '127.0.0.1', '::1', '0.0.0.0', '::'];
/** Nobody can point a public name under one of these at this machine (RFC 6761, 6762, 8375; Kubernetes). */
const privateName = /\.(local|localhost|internal|lan|svc|cluster\.local|home\.arpa)$/;
/** Refusals that are remembered: a warning each, once. */
const maxSeen = 100;

/** The host of a Host header or of an origin as it is compared: no port, no brackets, no final dot, lower case. */
function nameOf(host: string): string {
  const name = host.replace(/^(\[.*\]|[^:]*):\d*$/, '$1').replace(/^\[|\]$/g, '');
  return name.replace(/\.$/, '').toLowerCase();
}

/** Host and port of an http or https origin, without the port that its scheme implies. */
function hostOf(origin: string): string | undefined {
  const [, scheme = '', host] = /^(https?):\/\/([^/]+)$/i.exec(origin) ?? [];
  return host?.toLowerCase().replace(scheme.toLowerCase() === 'https' ? /:443$/ : /:80$/, '');
}

/** A header that says that somebody passed the request on. */
function forwardedBy(headers: IncomingMessage['headers']): string | undefined {
  for (const name in headers) {
    if (name === 'forwarded' || name === 'via' || name === 'x-real-ip' || name.startsWith('x-forwarded-')) return name;
  }
  return undefined;
}

export function admission({ host, allowedOrigins, allowedHosts, authIsSet, authenticate }: AdmissionConfig): Admission {
  const boundToLoopback = isLoopbackHost(host);
  const protectedMode = !boundToLoopback && !authIsSet;
  const names = new Set(
    [host, ...loopbackNames, ...allowedHosts, ...allowedOrigins.map((origin) => hostOf(origin) ?? ''), ...(authIsSet ? [hostname()] : [])]
      .map(nameOf)
      .filter(Boolean),
  );
  // where nothing authenticates, a name that somebody else may have pointed here would make his pages those of the gateway (DNS rebinding)
  const isOurs = (name: string) => names.has(name) || (authIsSet && (isIP(name) > 0 || !name.includes('.') || privateName.test(name)));
  // most ask for the same
  let lastOurs = '';

  const seen = new Set<string>();
  const refuse = (message: string): { refused: NotAdmitted } => {
    const isNew = seen.size < maxSeen && !seen.has(message);
    if (isNew) seen.add(message);
    return { refused: { code: 'FORBIDDEN', message, level: isNew ? 'warn' : 'info' } };
  };

  return (request) => {
    const { headers } = request;
    const { address, protocol } = senderOf(request);
    if (protectedMode && !isLoopback(address ?? '')) {
      return refuse(
        'protected mode: the gateway listens on the network without authentication. Set AUTH_MODE (required, or none to leave it open on purpose), or SERVER_HOST=127.0.0.1',
      );
    }
    const forwarded = authIsSet ? undefined : forwardedBy(headers);
    if (forwarded !== undefined) {
      return refuse(
        `a forwarded request (${forwarded}) is refused while AUTH_MODE is not set: the proxy would open the gateway to everybody. Set AUTH_MODE explicitly (required, or none to leave it open on purpose)`,
      );
    }
    // browsers always send one; without it nobody was misled by a name
    const asked = (headers.host ?? '').toLowerCase();
    if (asked !== lastOurs && asked !== '') {
      if (!isOurs(nameOf(asked))) return refuse(`Host ${asked.slice(0, 200)} is not allowed; add it to server.allowed_hosts`);
      lastOurs = asked;
    }
    const { origin } = headers;
    if (origin === undefined || allowedOrigins.includes(origin) || (boundToLoopback && loopbackOrigin.test(origin)))
      return authenticate(request);
    // the gateway's own pages, and clients that make an Origin of the address they connect to
    const own = hostOf(origin);
    const isSameProtocol = protocol === undefined || origin.toLowerCase().startsWith(`${protocol}:`);
    if (isSameProtocol && own !== undefined && own === hostOf(`${origin.slice(0, origin.indexOf(':'))}://${asked}`))
      return authenticate(request);
    return refuse(`origin ${origin.slice(0, 200)} is not allowed; add it to server.allowed_origins`);
  };
}

/** What the log says of a request that is refused: without the query, which may hold a secret. */
export function askedFor(request: IncomingMessage) {
  const { method, url, headers } = request;
  return {
    method,
    path: url?.split('?')[0]?.slice(0, 200),
    origin: headers.origin?.slice(0, 200),
    host: headers.host?.slice(0, 200),
    remoteAddress: senderOf(request).address,
  };
}
