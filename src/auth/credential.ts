import type { IncomingHttpHeaders } from 'node:http';
import type { Credential } from './principal.ts';

/** In front of a token among the subprotocols that a page offers: it cannot set headers. Never echoed. */
const inSubprotocol = 'bearer.';

/**
 * The credential that a request brings along.
 * @returns undefined: none; `fault`: what is wrong with it, which says nothing of its content
 */
export function credentialIn(headers: IncomingHttpHeaders): Credential | { fault: string; by: Credential['by'] } | undefined {
  const { authorization, 'sec-websocket-protocol': offered } = headers;
  const offers = offered === undefined ? [] : offered.split(',').flatMap((name) => tokenOf(name.trim()));
  const [first, ...more] = offers;
  if (authorization === undefined) {
    if (more.some((token) => token !== first)) return { fault: 'more than one credential', by: 'subprotocol' };
    return first === undefined ? undefined : { token: first, by: 'subprotocol' };
  }
  const [, token] = /^bearer +(\S+)$/i.exec(authorization) ?? [];
  if (token === undefined) return { fault: 'Authorization must be: Bearer, a blank, the token', by: 'header' };
  if (offers.some((other) => other !== token)) return { fault: 'more than one credential', by: 'header' };
  return { token, by: 'header' };
}

const tokenOf = (name: string) => (name.startsWith(inSubprotocol) ? [name.slice(inSubprotocol.length)] : []);
