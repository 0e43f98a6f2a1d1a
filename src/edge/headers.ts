/**
 * On every answer, for a browser that shows it: it is what its type says, runs nothing, stands in no frame, says nowhere where it came from, and
 * nobody keeps a copy. A page sets its own policy. Pages of other origins that may call do so with CORS, which Cross-Origin-Resource-Policy does not
 * restrict (Fetch standard): it keeps them from embedding an answer.
 */
const safe = new Map([
  ['x-content-type-options', 'nosniff'],
  ['content-security-policy', "default-src 'none'; frame-ancestors 'none'"],
  ['x-frame-options', 'DENY'],
  ['referrer-policy', 'no-referrer'],
  ['cross-origin-resource-policy', 'same-origin'],
  ['cache-control', 'no-store'],
]);
/** A browser that has this never comes without TLS again. */
const overTls = new Map([...safe, ['strict-transport-security', 'max-age=31536000']]);

/** The headers of every answer. @param name the gateway's, as it was asked for over TLS; absent: without TLS, or not by name */
export function safeHeaders(name?: string | false | null): Map<string, string> {
  // for localhost it would hold for everything that is developed on the same machine, at any port
  return name && !/^localhost(:|$)/i.test(name) ? overTls : safe;
}
