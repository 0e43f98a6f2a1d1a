const schemes: Record<string, string> = { 'ws:': 'ws:', 'wss:': 'wss:', 'http:': 'ws:', 'https:': 'wss:' };

/** Where the gateway's socket is: http stands for ws, and without a path it is /ws. @throws TypeError it is no such URL */
export function socketUrl(url: string): string {
  const parsed = new URL(url);
  const scheme = schemes[parsed.protocol];
  if (scheme === undefined) throw new TypeError(`${url}: not ws, wss, http or https`);
  const path = parsed.pathname === '/' ? '/ws' : parsed.pathname;
  const user = parsed.username && `${parsed.username}:${parsed.password}@`;
  return `${scheme}//${user}${parsed.host}${path}${parsed.search}`;
}
