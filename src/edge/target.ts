import type { IncomingMessage } from 'node:http';

/** What needs no second look, an absent one of HTTP/1.0 included. */
const plainHost = /^(?:[a-z\d][a-z\d.-]*(?::(?:[1-9]\d{3}|[1-5]\d{4}))?)?$/;
const absoluteForm = /^https?:\/\/([^/?#]*)(.*)$/i;

/**
 * Brings a request into the one form that everything behind reads: a target that starts with a slash, and one Host (RFC 9112, 3.2).
 * @returns what is wrong with it; undefined: nothing
 */
export function normalize(request: IncomingMessage): string | undefined {
  const { headers, rawHeaders, httpVersion, method } = request;
  if (request.httpVersionMajor !== 1) return 'only HTTP/1.1 and HTTP/1.0 are served';
  const { 'transfer-encoding': coding = 'chunked' } = headers;
  if (coding.toLowerCase() !== 'chunked') return 'the only Transfer-Encoding is chunked';
  let hosts = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) if (isHost(rawHeaders[i] ?? '')) hosts++;
  if (hosts > 1) return 'more than one Host header';
  if (hosts === 0 && httpVersion === '1.1') return 'the Host header is missing';
  let { url = '' } = request;
  const absolute = url.startsWith('/') ? null : absoluteForm.exec(url);
  if (absolute) {
    const [, authority = '', rest = ''] = absolute;
    // the target's host goes before the header's
    headers.host = authority.slice(authority.lastIndexOf('@') + 1);
    url = rest.startsWith('/') ? rest : `/${rest}`;
  }
  if (url === '*' && method === 'OPTIONS') url = '/';
  if (!plainHost.test(headers.host ?? '')) {
    const host = canonical(headers.host ?? '');
    if (host === undefined) return 'the Host header is malformed';
    headers.host = host;
  }
  if (!url.startsWith('/')) return 'the request target must be a path';
  if (!isUtf8Target(url)) return 'the request target must be percent-encoded UTF-8';
  request.url = url;
  return undefined;
}

const isHost = (name: string) => name.length === 4 && name.toLowerCase() === 'host';

/** Whether a body comes with a request. */
export const hasBody = ({ headers }: Pick<IncomingMessage, 'headers'>) =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

/** A Host as the URL standard writes it: in lower case, addresses in their short form, without an empty port. */
function canonical(host: string): string | undefined {
  if (/[\s/?#@\\]/.test(host)) return undefined;
  try {
    return new URL(`http://${host}`).host;
  } catch {
    return undefined;
  }
}

/** Two different byte strings must not become one name: what is not UTF-8 would be decoded with substitutes. */
function isUtf8Target(url: string): boolean {
  if (!/^[\x21-\x7e]*$/.test(url)) return false;
  if (!url.includes('%')) return true;
  try {
    decodeURIComponent(url);
    return true;
  } catch {
    return false;
  }
}
