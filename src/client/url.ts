const schemes: Record<string, string> = { 'ws:': 'ws:', 'wss:': 'wss:', 'http:': 'ws:', 'https:': 'wss:' };

/** Where the gateway's socket is: http stands for ws, and without a path it is /ws. @throws TypeError it is no such URL */
export function socketUrl(url: string): string {
  const parsed = parse(url);
  const scheme = schemes[parsed?.protocol ?? ''];
  if (!parsed || scheme === undefined) throw new TypeError(`not a URL with ws, wss, http or https: ${JSON.stringify(url)}`);
  const path = parsed.pathname === '/' ? '/ws' : parsed.pathname;
  const user = parsed.username && `${parsed.username}:${parsed.password}@`;
  return `${scheme}//${user}${parsed.host}${path}${parsed.search}`;
}

/** Undefined for what is no URL: the error of the platform need not say what it was given. */
function parse(url: string): URL | undefined {
  try {
    return new URL(url);
  } catch {
    return undefined;
  }
}
