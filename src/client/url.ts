const schemes: Record<string, string> = { 'ws:': 'ws:', 'wss:': 'wss:', 'http:': 'ws:', 'https:': 'wss:' };

/** The URL of the gateway's socket: http becomes ws, and the default path is /ws. @throws TypeError not a ws, wss, http or https URL */
export function socketUrl(url: string): string {
  const parsed = parse(url);
  const scheme = schemes[parsed?.protocol ?? ''];
  if (!parsed || scheme === undefined) throw new TypeError(`not a URL with ws, wss, http or https: ${JSON.stringify(url)}`);
  const path = parsed.pathname === '/' ? '/ws' : parsed.pathname;
  const user = parsed.username && `${parsed.username}:${parsed.password}@`;
  return `${scheme}//${user}${parsed.host}${path}${parsed.search}`;
}

/** Undefined: not a URL. The platform's own error does not always name its input. */
function parse(url: string): URL | undefined {
  try {
    return new URL(url);
  } catch {
    return undefined;
  }
}
